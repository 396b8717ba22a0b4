// Files that are imported: broken ones change nothing, good ones come in, and twice is once. Files
// that are exported have names of whole characters, and can be imported again.

import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import * as files from "../../assistant/web/static/files/files.js";
import * as store from "../../assistant/web/static/store/store.js";
import { conversation } from "./browser.js";

const { nameOf, read } = files;
const file = (value, name = "chats.json") =>
  new File([typeof value === "string" ? value : JSON.stringify(value)], name);
const exported = (...conversations) => file({ format: "tech-assistant", v: 1, conversations });
const stored = () => JSON.stringify(store.all());
const take = async (from) => files.take((await read(from)).conversations);

const turn = (more) => ({ n00000001: { parent: null, role: "user", text: "a", ...more } });
const BROKEN = [
  ["", "it is not JSON"],
  ["{", "it is not JSON"],
  ["[".repeat(50_000), "it is not JSON"],
  ["null", "no conversations"],
  ['{"format": "tech-assistant", "conversations": 5}', "no conversations"],
  ['{"format": "tech-assistant", "conversations": []}', "no conversations"],
  [{ v: 2 }, "version"],
  [{ id: "../../etc" }, "its id"],
  [{ id: "__proto__" }, "its id"],
  [{ nodes: null }, "no turns"],
  [{ nodes: { n00000001: null } }, "broken"],
  [{ nodes: { constructor: { parent: null, role: "user", text: "a" } } }, "broken"],
  [{ nodes: turn({ parent: "n00000001" }) }, "missing"],
  [{ nodes: turn({ role: "system" }) }, "alternate"],
  [{ nodes: turn({ text: 5 }) }, "no text"],
  [{ nodes: turn({ text: "a".repeat(100_001) }) }, "100,000"],
  [{ nodes: turn({ text: " " }) }, "100,000"],
];

for (const [value, reason] of BROKEN) {
  test(`refused, for ${reason}: ${JSON.stringify(value).slice(0, 60)}`, async () => {
    await take(exported(conversation(9, "stays")));
    const before = stored();
    const wrong =
      typeof value === "string"
        ? file(value)
        : exported(conversation(1, "a"), { ...conversation(2, "b"), ...value });
    await assert.rejects(take(wrong), ({ message }) => {
      assert.ok(message.startsWith("The file chats.json cannot be read: "));
      return message.endsWith(".") && message.includes(reason);
    });
    assert.equal(stored(), before);
    assert.equal(await take(exported(conversation(9, "stays"))), 1);
    assert.equal(stored(), before);
  });
}

test("a file that is too large, of too many conversations, or that cannot be had is refused", async () => {
  const large = file("x");
  Object.defineProperty(large, "size", { value: 20_000_001 });
  await assert.rejects(read(large), /more than 20 MB/);
  const many = Array.from({ length: 2001 }, (_, n) => conversation(n, "a"));
  await assert.rejects(read(exported(...many)), /more than 2,000 conversations/);
  const gone = file("[]");
  gone.text = () => Promise.reject(new DOMException("gone", "NotReadableError"));
  await assert.rejects(read(gone), /^Error: The file chats.json cannot be read: it is damaged\.$/);
});

test("one whose turns differ comes in beside the other, one whose turns are more joins it", async () => {
  store.put(conversation(20, "a", "b"));
  const count = store.all().length;
  await take(exported(conversation(20, "a", "b", "c")));
  assert.equal(store.all().length, count);
  assert.equal(Object.keys(store.get("c00000014").nodes).length, 3);
  await take(exported(conversation(20, "a", "another b")));
  assert.equal(store.all().length, count + 1);
  assert.equal(store.get("c00000014").nodes.n0014000001.text, "b");
});

test("what others wrote comes in once, with a word on what is left out", async () => {
  const count = store.all().length;
  const talk = [
    { role: "system", content: "s" },
    { role: "user", content: "from elsewhere" },
  ];
  const { left } = await read(file(talk));
  assert.equal(left, "Left out: 1 system message.");
  for (let time = 0; time < 2; time++) assert.equal(await take(file(talk)), 1);
  assert.equal(store.all().length, count + 1);
});

for (const [title, name] of [
  ["How do I sort?", "how-do-i-sort.x"],
  ["../.. \\ : *", "conversation.x"],
  ["", "conversation.x"],
  ["❤️ ça vä", "ça-vä.x"],
  ["नमस्ते दुनिया", "नमस्ते-दुनिया.x"],
  [`${"a".repeat(39)} b`, `${"a".repeat(39)}.x`],
  [`${"a".repeat(39)}𝔸b`, `${"a".repeat(39)}𝔸.x`],
  [`${"a".repeat(39)}e\u0301b`, `${"a".repeat(39)}.x`],
]) {
  test(`the name of a file: ${JSON.stringify(title)}`, () =>
    assert.equal(nameOf(title, "x"), name));
}

test("what is exported can be imported", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const saved = [];
  t.mock.method(URL, "createObjectURL", (blob) => {
    saved.push(blob);
    return "blob:x";
  });
  document.createElement = () => ({
    append: () => {},
    click() {
      saved.push(this.download);
    },
  });
  const record = conversation(30, "A title", "a reply\n```");
  const texts = ({ nodes }) => Object.values(nodes).map(({ text }) => text);
  for (const [save, name] of [
    [() => files.json([record]), "a-title.json"],
    [() => files.openai(record, record.leaf), "a-title.openai.json"],
    [() => files.markdown(record, record.leaf), "a-title.md"],
  ]) {
    save();
    const [blob, download] = saved.splice(0);
    assert.equal(download, name);
    const { conversations, left } = await read(new File([blob], download));
    assert.deepEqual(conversations.map(texts), [texts(record)]);
    assert.equal(conversations[0].title, "A title");
    assert.equal(left, "");
  }
  files.json([record, conversation(31, "b")]);
  assert.match(saved[1], /^conversations-\d{4}-\d\d-\d\d\.json$/);
  const { conversations } = await read(new File([saved[0]], saved[1]));
  assert.deepEqual(conversations[0], { ...record, settings: {} });
});
