// Conversations in the browser's database: read, changed, shared with other tabs, moved there from
// where they were before, and what is left of them when the database refuses or the page ends.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import {
  asksBeforeLeaving,
  conversation,
  die,
  disconnect,
  disk,
  fire,
  localStorage,
  look,
  quiet,
  sessionStorage,
} from "./browser.js";

const CHAT = "tech-assistant/chat/";
const GROWING = "tech-assistant/growing/";
const [C1, C2, C3] = ["c00000001", "c00000002", "c00000003"];
const ROOT = "n0001000000"; // the first turn of conversation 1
const REPLY = "nabcdef01";

let tabs = 0;
/** Another page of this browser, with modules of its own. */
const open = () => import(`../../assistant/web/static/store/store.js?tab=${tabs++}`);
const stored = (id) => disk.rows.get(id);
const store = (...records) => {
  for (const record of records) disk.rows.set(record.id, record);
};
const inLocal = (key) => JSON.parse(localStorage.getItem(key));
const texts = (record) => Object.values(record.nodes).map(({ text }) => text);
const reply = (text, finish) => ({ parent: ROOT, role: "assistant", text, finish });
const titled = (title) => (record) => {
  record.title = title;
};
const ends = (text) => (record) => {
  record.nodes[REPLY] = reply(text, "stop");
};
const second = () => mock.timers.tick(1000);

beforeEach(() => {
  die();
  for (const storage of [localStorage, sessionStorage]) {
    storage.clear();
    storage.room = Infinity;
  }
  Object.assign(disk, { rows: new Map(), opening: "", room: Infinity, aborts: false, writes: 0 });
  document.visibilityState = "visible";
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("what is there is read, and what cannot be read is left alone", async () => {
  const wrong = { ...conversation(2, "later"), v: 2 };
  store(conversation(1, "found", "there"), wrong, { id: "other" }, conversation(3, "newer"));
  localStorage.setItem("somebody/else", "{");
  const tab = await open();
  assert.deepEqual(
    tab.all().map(({ title }) => title),
    ["newer", "found"],
  );
  assert.deepEqual(tab.state(), { unsaved: 0, blocked: false, broken: 2, full: false });
  tab.put(conversation(2, "mine"));
  await quiet();
  assert.ok(tab.isUnsaved(C2) && !tab.state().full);
  assert.deepEqual(stored(C2), wrong);
  assert.deepEqual(stored("other"), { id: "other" });
  assert.equal(localStorage.getItem("somebody/else"), "{");
});

test("a change is here and told at once, and written soon after", async () => {
  store(conversation(1, "one"));
  const tab = await open();
  const heard = [];
  tab.listen((id) => heard.push(id));
  tab.put(conversation(5, "five"));
  tab.change(C1, titled("renamed"));
  tab.change(C2, titled("new"), conversation(2, "fresh"));
  tab.change(C3, () => assert.fail("nothing is there to change"));
  const titles = () => tab.all().map(({ title }) => title);
  assert.deepEqual(heard, ["c00000005", C1, C2]);
  assert.deepEqual(titles().sort(), ["five", "new", "renamed"]);
  assert.equal(disk.writes, 0);
  await tab.saved();
  assert.equal(disk.writes, 3);
  assert.deepEqual([...disk.rows.values()].map(({ title }) => title).sort(), titles().sort());
  assert.equal(heard.length, 3);
});

test("what is put joins what is here", async () => {
  store(conversation(1, "one", "two"));
  const tab = await open();
  tab.put(conversation(1, "changed"));
  assert.deepEqual(texts(tab.get(C1)), ["changed", "two"]);
  tab.change(C1, titled("newer"));
  tab.put(conversation(1, "one"));
  assert.deepEqual([tab.get(C1).title, ...texts(tab.get(C1))], ["newer", "changed", "two"]);
  await tab.saved();
  assert.deepEqual(texts(stored(C1)), ["changed", "two"]);
});

test("an edit that fails changes nothing", async () => {
  store(conversation(1, "one"));
  const tab = await open();
  const edit = (record) => {
    record.title = "half";
    throw new Error("wrong");
  };
  assert.throws(() => tab.change(C1, edit), /wrong/);
  assert.equal(tab.get(C1).title, "one");
});

test("many changes while a write is under way make one more", async () => {
  store(conversation(1, "one"));
  const tab = await open();
  tab.change(C1, titled("first"));
  for (let n = 0; disk.writes === 0; n++) {
    for (let m = 0; m < 5; m++) tab.change(C1, titled(`${n} ${m}`));
    await new Promise(setImmediate);
  }
  await tab.saved();
  assert.equal(disk.writes, 2);
  assert.equal(stored(C1).title, tab.get(C1).title);
});

for (const [name, steps, left] of [
  ["stays away", (tab) => tab.change(C1, () => assert.fail("it is gone")), false],
  ["comes back with its record", (tab, gone) => tab.put(gone), true],
  ["goes after it came back", (tab, gone) => [tab.put(gone), tab.remove(C1)], false],
  ["comes back as a new one", (tab, gone) => tab.change(C1, () => {}, gone), true],
  ["does not grow", (tab) => [tab.grow(C1, REPLY, reply("x")), second()], false],
]) {
  for (let turns = 0; turns < 6; turns++) {
    test(`one that is deleted ${turns} turns into its write ${name}`, async () => {
      const [tab, other] = [await open(), await open()];
      tab.put(conversation(1, "one"));
      for (let n = 0; n < turns; n++) await new Promise(setImmediate);
      const gone = tab.remove(C1);
      assert.equal(gone.title, "one");
      assert.equal(tab.get(C1), undefined);
      steps(tab, gone);
      await quiet();
      for (const there of [stored(C1), tab.get(C1), other.get(C1)]) assert.equal(!!there, left);
      assert.equal(tab.state().unsaved, 0);
    });
  }
}

test("what could not be deleted is, once the page is seen again", async () => {
  store(conversation(1, "one"));
  const tab = await open();
  disk.aborts = true;
  tab.remove(C1);
  await quiet();
  assert.ok(stored(C1) && !tab.get(C1));
  disk.aborts = false;
  look("visible");
  await quiet();
  assert.equal(stored(C1), undefined);
});

test("tabs hear of each other's changes", async () => {
  store(conversation(1, "one"));
  const [tab, other] = [await open(), await open()];
  const heard = [];
  other.listen((id) => heard.push(id));
  tab.change(C1, titled("renamed"));
  tab.put(conversation(2, "two"));
  await quiet();
  assert.deepEqual(heard.sort(), [C1, C2]);
  assert.equal(other.get(C1).title, "renamed");
  assert.equal(other.get(C2).title, "two");
  // without a new time, as what is found out about a reply is kept
  tab.put({ ...tab.get(C1), settings: { seed: 7 } });
  await quiet();
  assert.deepEqual(other.get(C1).settings, { seed: 7 });
  assert.equal(disk.writes, 3);
});

test("another tab's change is told beside one of one's own that does not fit", async () => {
  store(conversation(1, "one"));
  const [tab, other] = [await open(), await open()];
  disk.room = 2000;
  tab.change(C1, (record) => {
    record.nodes.nabcdef02 = reply("x".repeat(2000));
  });
  await quiet();
  const told = [];
  tab.listen((id) => told.push(texts(tab.get(id)).at(-1)));
  other.change(C1, ends("theirs"));
  await quiet();
  assert.deepEqual(told, ["theirs"]);
  assert.deepEqual(texts(stored(C1)), ["one", "theirs"]);
  assert.ok(tab.isUnsaved(C1));
});

test("no turn is lost when two tabs write at once", async () => {
  store(conversation(1, "one"));
  const both = [await open(), await open()];
  const told = [0, 0];
  for (const [at, tab] of both.entries()) {
    tab.listen(() => {
      told[at] = Object.keys(tab.get(C1).nodes).length;
    });
  }
  let number = 1;
  for (let n = 0; n < 200; n++) {
    number = (number * 48_271) % 2_147_483_647;
    const nid = `n${(0x10000000 + n).toString(16)}`;
    const node = { parent: null, role: "user", text: String(n) };
    both[number % 2].change(C1, (record) => {
      record.nodes[nid] = node;
    });
    for (let m = 0; m < number % 5; m++) await new Promise(setImmediate);
  }
  await quiet();
  for (const record of [stored(C1), ...both.map((tab) => tab.get(C1))])
    assert.equal(Object.keys(record.nodes).length, 201);
  assert.deepEqual(told, [201, 201]);
  assert.ok(!both.some((tab) => tab.state().unsaved));
});

test("turns that the database lacks are written when that is seen", async () => {
  const tab = await open();
  tab.put(conversation(1, "one", "two"));
  await tab.saved();
  store(conversation(1, "one"));
  new BroadcastChannel("tech-assistant").postMessage({ id: C1 });
  await quiet();
  assert.deepEqual(texts(stored(C1)), ["one", "two"]);
});

test("what another page says, and what it writes, is not believed", async () => {
  store(conversation(1, "one"));
  const tab = await open();
  const channel = new BroadcastChannel("tech-assistant");
  store({ ...conversation(1, "broken"), nodes: 5 });
  for (const message of [null, 5, {}, { id: 5 }, { id: "__proto__" }, { id: C1 }])
    channel.postMessage(message);
  await quiet();
  assert.equal(tab.get(C1).title, "one");
  assert.deepEqual([tab.all().length, tab.state().unsaved], [1, 0]);
});

test("what is being read does not vanish when another tab deletes it", async () => {
  store(conversation(1, "read"), conversation(2, "not read"));
  const [tab, other] = [await open(), await open()];
  const heard = [];
  tab.listen((id) => heard.push(id));
  tab.show(C1);
  assert.equal(tab.shownId(), C1);
  for (const id of [C1, C2]) other.remove(id);
  await quiet();
  assert.deepEqual(heard.sort(), [C1, C2]);
  assert.equal(tab.get(C2), undefined);
  assert.equal(tab.get(C1).title, "read");
  assert.ok(tab.isUnsaved(C1) && asksBeforeLeaving());
  fire("pagehide");
  assert.equal(localStorage.length, 0);
  tab.grow(C1, REPLY, reply("goes on"));
  second();
  await quiet();
  fire("pagehide");
  assert.deepEqual([disk.rows.size, localStorage.length], [0, 0]);
  tab.change(C1, ends("went on"));
  await quiet();
  assert.ok(!tab.isUnsaved(C1) && !asksBeforeLeaving());
  assert.deepEqual(texts(stored(C1)), ["read", "went on"]);
  assert.deepEqual(texts(other.get(C1)), ["read", "went on"]);
});

test("what is read and comes back in another tab is saved again", async () => {
  store(conversation(1, "one"));
  const [tab, other] = [await open(), await open()];
  tab.show(C1);
  const gone = other.remove(C1);
  await quiet();
  assert.ok(tab.isUnsaved(C1));
  other.put(gone);
  await quiet();
  assert.ok(!tab.isUnsaved(C1));
});

for (let turns = 0; turns < 8; turns++) {
  test(`a write ${turns} turns after another tab's delete brings nothing back`, async () => {
    store(conversation(1, "one"));
    const [tab, other] = [await open(), await open()];
    other.remove(C1);
    for (let n = 0; n < turns; n++) await new Promise(setImmediate);
    tab.change(C1, titled("late"));
    await quiet();
    for (const there of [stored(C1), tab.get(C1), other.get(C1)]) assert.equal(there, undefined);
  });

  test(`an import ${turns} turns after another tab's delete holds`, async () => {
    store(conversation(1, "one"));
    const [tab, other] = [await open(), await open()];
    other.remove(C1);
    for (let n = 0; n < turns; n++) await new Promise(setImmediate);
    tab.put(conversation(1, "one", "two"));
    await quiet();
    for (const there of [stored(C1), tab.get(C1), other.get(C1)])
      assert.deepEqual(texts(there), ["one", "two"]);
  });
}

// What refuses

for (const opening of ["missing", "refused", "blocked"]) {
  test(`with a database that is ${opening}, a page works in memory`, async () => {
    const { indexedDB } = globalThis;
    disk.opening = opening;
    if (opening === "missing") globalThis.indexedDB = undefined;
    localStorage.setItem(`${CHAT}${C2}`, JSON.stringify(conversation(2, "old")));
    try {
      const tab = await open();
      tab.put(conversation(1, "one"));
      tab.change(C1, titled("renamed"));
      await tab.saved();
      assert.deepEqual(tab.state(), { unsaved: 2, blocked: true, broken: 0, full: false });
      assert.deepEqual([tab.get(C1).title, tab.get(C2).title], ["renamed", "old"]);
      assert.ok(tab.isUnsaved(C1) && !asksBeforeLeaving());
      tab.remove(C2);
      assert.equal(localStorage.getItem(CHAT + C2), null);
      die();
      const again = await open();
      assert.deepEqual(
        again.all().map(({ title }) => title),
        ["renamed"],
      );
      localStorage.room = 10;
      again.change(C1, titled("not put anywhere"));
      assert.ok(asksBeforeLeaving());
      localStorage.room = Infinity;
      die();
    } finally {
      globalThis.indexedDB = indexedDB;
      disk.opening = "";
    }
    await open();
    await quiet();
    assert.equal(stored(C1).title, "not put anywhere");
    assert.equal(localStorage.length, 0);
  });
}

for (const [name, fault, mended, full] of [
  ["there is no room", { room: 10 }, { room: Infinity }, true],
  ["transactions abort", { aborts: true }, { aborts: false }, false],
]) {
  test(`where ${name}, a change stays here and is put into localStorage`, async () => {
    store(conversation(1, "one"));
    const tab = await open();
    const heard = [];
    tab.listen((id) => heard.push([id, tab.isUnsaved(id)]));
    Object.assign(disk, fault);
    tab.change(C1, titled("renamed"));
    await quiet();
    assert.deepEqual(heard.splice(0), [
      [C1, false],
      [C1, true],
    ]);
    assert.deepEqual(tab.state(), { unsaved: 1, blocked: false, broken: 0, full });
    assert.equal(stored(C1).title, "one");
    assert.ok(!asksBeforeLeaving());
    localStorage.room = 10;
    assert.ok(asksBeforeLeaving());
    localStorage.room = Infinity;
    Object.assign(disk, mended);
    tab.change(C1, titled("again"));
    await quiet();
    assert.deepEqual(heard, [
      [C1, true],
      [C1, false],
    ]);
    assert.deepEqual(tab.state(), { unsaved: 0, blocked: false, broken: 0, full: false });
    assert.equal(stored(C1).title, "again");
    assert.equal(localStorage.length, 0);
  });

  test(`where ${name}, a change is there again after the page ended`, async () => {
    store(conversation(1, "one"));
    const tab = await open();
    Object.assign(disk, fault);
    tab.change(C1, titled("renamed"));
    await quiet();
    die();
    assert.equal((await open()).get(C1).title, "renamed");
    await quiet();
    assert.ok(localStorage.getItem(GROWING + C1));
    die();
    Object.assign(disk, mended);
    await open();
    await quiet();
    assert.equal(stored(C1).title, "renamed");
    assert.equal(localStorage.length, 0);
  });
}

test("what did not fit is written once something was deleted, here or in another tab", async () => {
  const long = "x".repeat(1000);
  store(conversation(1, long), conversation(2, long));
  const [tab, other] = [await open(), await open()];
  disk.room = 5000;
  tab.put(conversation(3, long));
  tab.put(conversation(4, long, long));
  await quiet();
  assert.equal(tab.state().unsaved, 2);
  tab.remove(C1);
  await quiet();
  assert.equal(tab.state().unsaved, 1);
  assert.ok(tab.state().full && stored(C3));
  other.remove(C2);
  await quiet();
  assert.deepEqual(tab.state(), { unsaved: 0, blocked: false, broken: 0, full: false });
  assert.equal(disk.rows.size, 2);
});

test("a connection that the browser closed is opened again", async () => {
  store(conversation(1, "one"));
  const tab = await open();
  disconnect();
  tab.change(C1, titled("renamed"));
  await tab.saved();
  assert.equal(stored(C1).title, "renamed");
});

test("what could not be read again is not written over what can", async () => {
  store(conversation(1, "one"));
  const tab = await open();
  tab.change(C1, (record) => {
    record.nodes[REPLY] = reply(5);
  });
  await tab.saved();
  assert.ok(tab.isUnsaved(C1));
  assert.deepEqual(texts(stored(C1)), ["one"]);
});

// Where earlier versions kept them

test("conversations of earlier versions move into the database", async () => {
  const broken = { [`${CHAT}c00000006`]: "{broken", [`${CHAT}c00000007`]: "null" };
  broken[`${CHAT}c00000008`] = JSON.stringify(conversation(9, "another's id"));
  broken[`${CHAT}c00000009`] = JSON.stringify({ ...conversation(9, "no turns"), nodes: 5 });
  for (const [key, text] of Object.entries(broken)) localStorage.setItem(key, text);
  localStorage.setItem(CHAT + C1, JSON.stringify(conversation(1, "one", "there")));
  localStorage.setItem(CHAT + C2, JSON.stringify(conversation(2, "two", "old")));
  store({ ...conversation(2, "two"), title: "newer", updated: 1_800_000_000_000 });
  disk.aborts = true;
  const tab = await open();
  assert.deepEqual(
    [texts(tab.get(C1)), texts(tab.get(C2))],
    [
      ["one", "there"],
      ["two", "old"],
    ],
  );
  await quiet();
  assert.equal(tab.state().unsaved, 2);
  assert.equal(localStorage.length, 6);
  die();
  disk.aborts = false;
  const [again, other] = await Promise.all([open(), open()]);
  await quiet();
  for (const { state } of [again, other])
    assert.deepEqual(state(), { unsaved: 0, blocked: false, broken: 4, full: false });
  assert.deepEqual(texts(stored(C1)), ["one", "there"]);
  assert.deepEqual(texts(stored(C2)), ["two", "old"]);
  assert.equal(stored(C2).title, "newer");
  assert.equal(localStorage.length, 4);
  for (const [key, text] of Object.entries(broken)) assert.equal(localStorage.getItem(key), text);
});

test("what another page put there meanwhile is not taken away", async () => {
  localStorage.setItem(CHAT + C1, JSON.stringify(conversation(1, "one")));
  await open();
  localStorage.setItem(CHAT + C1, JSON.stringify(conversation(1, "one", "two")));
  await quiet();
  assert.deepEqual(texts(inLocal(CHAT + C1)), ["one", "two"]);
});

// A reply that is being written

test("a reply that grows is read at once, told to nobody, and written once a second", async () => {
  store(conversation(1, "one"));
  const [tab, other] = [await open(), await open()];
  const heard = [];
  tab.listen((id) => heard.push(id));
  tab.grow(C2, REPLY, reply("nowhere"));
  for (const text of ["a", "ab", "abc"]) tab.grow(C1, REPLY, reply(text));
  assert.deepEqual(texts(tab.get(C1)), ["one", "abc"]);
  assert.equal(tab.get(C1).leaf, REPLY);
  await quiet();
  assert.equal(disk.writes, 0);
  second();
  await quiet();
  assert.equal(disk.writes, 1);
  assert.deepEqual(stored(C1).nodes[REPLY], reply("abc", "cancelled"));
  assert.deepEqual(texts(other.get(C1)), ["one", "abc"]);
  second();
  await quiet();
  assert.equal(disk.writes, 1);
  tab.grow(C1, REPLY, reply("abcd"));
  tab.change(C1, ends("abcde"));
  await quiet();
  second();
  await quiet();
  assert.equal(disk.writes, 2);
  for (const record of [stored(C1), tab.get(C1), other.get(C1)])
    assert.deepEqual(record.nodes[REPLY], reply("abcde", "stop"));
  assert.deepEqual(heard, [C1]);
});

test("while a reply grows, what another tab says of the conversation holds", async () => {
  store(conversation(1, "one"));
  const [tab, other] = [await open(), await open()];
  tab.grow(C1, REPLY, reply("a"));
  second();
  await quiet();
  tab.grow(C1, REPLY, reply("ab"));
  other.change(C1, titled("renamed"));
  await quiet();
  assert.equal(tab.get(C1).nodes[REPLY].text, "ab");
  second();
  await quiet();
  tab.change(C1, (record) => {
    record.nodes[ROOT].pinned = true; // another node: the reply still grows
  });
  await quiet();
  assert.equal(stored(C1).nodes[REPLY].finish, "cancelled");
  tab.grow(C1, REPLY, reply("abc"));
  second();
  await quiet();
  for (const record of [stored(C1), tab.get(C1), other.get(C1)]) {
    assert.equal(record.title, "renamed");
    assert.equal(record.nodes[REPLY].text, "abc");
  }
});

test("two tabs may each write a reply in one conversation", async () => {
  store(conversation(1, "one"));
  const both = [await open(), await open()];
  for (let n = 0; n < 5; n++) {
    for (const [at, tab] of both.entries()) tab.grow(C1, `nabcdef0${at}`, reply(`${at} ${n}`));
    second();
    await quiet();
  }
  assert.deepEqual(texts(stored(C1)).sort(), ["0 4", "1 4", "one"]);
  assert.ok(disk.writes <= 10);
});

for (const leave of [die, () => look("hidden")]) {
  test(`a growing reply is kept when its page is left: ${leave.name || "hidden"}`, async () => {
    store(conversation(1, "one", "an earlier reply"));
    const tab = await open();
    tab.grow(C1, REPLY, reply("ab"));
    leave();
    const { nodes, id } = inLocal(GROWING + C1);
    assert.deepEqual([id, nodes], [C1, { [REPLY]: reply("ab", "cancelled") }]);
    const again = await open();
    assert.deepEqual(again.get(C1).nodes[REPLY], reply("ab", "cancelled"));
    await quiet();
    assert.deepEqual(stored(C1).nodes[REPLY], reply("ab", "cancelled"));
    assert.equal(Object.keys(stored(C1).nodes).length, 3);
    assert.equal(localStorage.length, 0);
  });
}

for (const there of [[], [conversation(1, "one")]]) {
  test(`what was changed when the page died is there as a whole, of ${there.length}`, async () => {
    store(...there);
    const tab = await open();
    tab.put(conversation(1, "one", "two"));
    tab.grow(C1, REPLY, reply("ab"));
    await new Promise(setImmediate); // its write is under way
    die();
    await quiet();
    assert.equal(disk.writes, 0);
    await open();
    await quiet();
    assert.deepEqual(texts(stored(C1)), ["one", "two", "ab"]);
    assert.equal(localStorage.length, 0);
  });
}

test("a page that is hidden and goes on leaves nothing in localStorage", async () => {
  store(conversation(1, "one"));
  const tab = await open();
  tab.grow(C1, REPLY, reply("ab"));
  look("hidden");
  tab.grow(C1, REPLY, reply("abc"));
  second();
  await quiet();
  assert.equal(stored(C1).nodes[REPLY].text, "abc");
  assert.equal(localStorage.length, 0);
});

for (const [order, finished, found] of [
  ["a growing reply is older than its end", true, reply("abc", "stop")],
  ["a growing reply is newer than what was written of it", false, reply("ab", "cancelled")],
]) {
  test(`${order}, and the newer one holds`, async () => {
    store(conversation(1, "one"));
    const tab = await open();
    tab.grow(C1, REPLY, reply("a"));
    second();
    await quiet();
    tab.grow(C1, REPLY, reply("ab"));
    look("hidden");
    const late = localStorage.getItem(GROWING + C1);
    if (finished) tab.change(C1, ends("abc"));
    await quiet();
    die();
    localStorage.setItem(GROWING + C1, late);
    const again = await open();
    assert.deepEqual(again.get(C1).nodes[REPLY], found);
    await quiet();
    for (const record of [again.get(C1), stored(C1)]) assert.deepEqual(record.nodes[REPLY], found);
    assert.equal(localStorage.length, 0);
  });
}

test("what grew in a conversation that was deleted since is gone with it", async () => {
  store(conversation(1, "one"));
  const [tab, other] = [await open(), await open()];
  tab.grow(C1, REPLY, reply("ab"));
  look("hidden");
  other.remove(C1);
  await quiet();
  assert.equal(localStorage.length, 0);
  assert.equal(tab.get(C1), undefined);
  second();
  await quiet();
  assert.equal(disk.rows.size, 0);
});

// Beside the conversations

test("what belongs to a tab is in the tab's own store", async () => {
  const tab = await open();
  assert.equal(tab.ofTab("tab"), null);
  assert.equal(tab.ofTab("tab", "draft"), "draft");
  assert.equal(sessionStorage.getItem("tab"), "draft");
  assert.equal(localStorage.getItem("tab"), null);
});

test("settings are kept for the next conversation, and checked", async () => {
  const tab = await open();
  assert.deepEqual(tab.settings(), {});
  tab.keepSettings({ seed: 7 });
  assert.deepEqual(tab.settings(), { seed: 7 });
  for (const [text, found] of [
    ['{"seed": "x", "temperature": 1}', { temperature: 1 }],
    ["{", {}],
  ]) {
    localStorage.setItem("tech-assistant/settings", text);
    assert.deepEqual(tab.settings(), found);
  }
  localStorage.room = 10;
  tab.keepSettings({ seed: 1_000_000 });
  assert.deepEqual(tab.settings(), {});
});
