// Conversations in the browser's store: read, changed, full, and shared with other tabs.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  asksBeforeLeaving,
  conversation,
  fromAnotherTab,
  localStorage,
  sessionStorage,
} from "./browser.js";

const CHAT = "tech-assistant/chat/";
const inStore = (id) => JSON.parse(localStorage.getItem(CHAT + id));
const texts = (record) => Object.values(record.nodes).map(({ text }) => text);

localStorage.setItem(`${CHAT}c00000001`, JSON.stringify(conversation(1, "found", "there")));
localStorage.setItem(`${CHAT}c00000002`, "{broken");
localStorage.setItem(`${CHAT}c00000003`, JSON.stringify(conversation(4, "another's id")));
localStorage.setItem("somebody/else", "{");
const store = await import("../../assistant/web/static/lib/store.js");

test("what is there is read, and what cannot be read is left alone", () => {
  assert.deepEqual(
    store.all().map(({ title }) => title),
    ["found"],
  );
  assert.equal(store.state().broken, 2);
  assert.equal(localStorage.getItem(`${CHAT}c00000002`), "{broken");
});

test("what belongs to a tab is in the tab's own store", () => {
  assert.equal(store.ofTab("tab"), null);
  assert.equal(store.ofTab("tab", "draft"), "draft");
  assert.equal(sessionStorage.getItem("tab"), "draft");
  assert.equal(localStorage.getItem("tab"), null);
});

test("a change is written, is the newest, and is told", () => {
  const heard = [];
  store.listen((id) => heard.push(id));
  store.put(conversation(5, "five"));
  store.change("c00000001", (record) => {
    record.title = "renamed";
  });
  assert.deepEqual(heard, ["c00000005", "c00000001"]);
  assert.deepEqual(
    store.all().map(({ title }) => title),
    ["renamed", "five"],
  );
  assert.equal(inStore("c00000001").title, "renamed");
});

test("one that was deleted does not come back with a change, but may with its record", () => {
  const gone = store.remove("c00000005");
  assert.equal(localStorage.getItem(`${CHAT}c00000005`), null);
  store.change("c00000005", () => assert.fail("nothing is there to change"));
  assert.equal(store.get("c00000005"), undefined);
  store.put(gone);
  assert.deepEqual(texts(inStore("c00000005")), ["five"]);
});

test("what another tab wrote is joined, whoever heard of it", () => {
  store.put(conversation(6, "begun", "Yes."));
  const theirs = conversation(6, "begun");
  theirs.nodes.nabcdef01 = { parent: "n0006000000", role: "assistant", text: "theirs" };
  fromAnotherTab(`${CHAT}c00000006`, JSON.stringify(theirs));
  assert.deepEqual(texts(store.get("c00000006")).sort(), ["Yes.", "begun", "theirs"]);
  assert.equal(Object.keys(inStore("c00000006").nodes).length, 3);

  const unheard = inStore("c00000006");
  unheard.nodes.nabcdef02 = { parent: "n0006000000", role: "assistant", text: "unheard" };
  localStorage.setItem(`${CHAT}c00000006`, JSON.stringify(unheard));
  store.change("c00000006", () => {});
  assert.ok(texts(inStore("c00000006")).includes("unheard"));
  fromAnotherTab(`${CHAT}c00000006`, "{broken");
  assert.ok(texts(store.get("c00000006")).includes("unheard"));
});

test("what is being read does not vanish when another tab deletes it", () => {
  store.put(conversation(7, "read"));
  store.put(conversation(8, "not read"));
  store.show("c00000007");
  assert.equal(store.shownId(), "c00000007");
  for (const id of ["c00000007", "c00000008"]) fromAnotherTab(CHAT + id, null);
  assert.equal(store.get("c00000008"), undefined);
  assert.equal(store.get("c00000007").title, "read");
  assert.ok(store.isUnsaved("c00000007") && asksBeforeLeaving());
  store.change("c00000007", () => {});
  assert.ok(!store.isUnsaved("c00000007") && !asksBeforeLeaving());
});

test("what does not fit stays in this page, and is written once there is room", () => {
  for (let n = 100; n < 119; n++) store.put(conversation(n, "big", "x".repeat(199_000)));
  assert.ok(store.state().near);
  store.put(conversation(119, "late", "y".repeat(199_000)));
  store.put(conversation(120, "later", "z".repeat(199_000)));
  assert.ok(store.isUnsaved("c00000078") && store.state().unsaved > 0);
  assert.equal(store.get("c00000078").title, "later");
  for (let n = 100; n < 103; n++) store.remove(conversation(n, "").id);
  assert.equal(store.state().unsaved, 0);
  assert.equal(inStore("c00000078").title, "later");
  for (let n = 103; n < 121; n++) store.remove(conversation(n, "").id);
});

test("a browser whose store is smaller than ours loses nothing either", () => {
  localStorage.room = 100;
  store.put(conversation(130, "kept here"));
  store.keepSettings({ template: "x".repeat(100) });
  assert.ok(store.isUnsaved("c00000082"));
  localStorage.room = Infinity;
  store.change("c00000082", () => {});
  assert.equal(inStore("c00000082").title, "kept here");
});

test("settings are kept for the next conversation, and checked", () => {
  assert.deepEqual(store.settings(), {});
  store.keepSettings({ seed: 7 });
  assert.deepEqual(store.settings(), { seed: 7 });
  localStorage.setItem("tech-assistant/settings", '{"seed": "x", "temperature": 1}');
  assert.deepEqual(store.settings(), { temperature: 1 });
  localStorage.setItem("tech-assistant/settings", "{");
  assert.deepEqual(store.settings(), {});
});
