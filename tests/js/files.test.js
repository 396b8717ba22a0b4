// Files that are imported: broken ones change nothing, good ones come in, and twice is once.

import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { read, take } from "../../assistant/web/static/lib/files.js";
import * as store from "../../assistant/web/static/lib/store.js";
import { conversation } from "./browser.js";

const file = (value) =>
  new File([typeof value === "string" ? value : JSON.stringify(value)], "chats.json");
const exported = (...conversations) => file({ format: "tech-assistant", v: 1, conversations });
const stored = () => JSON.stringify(store.all());

const turn = (more) => ({ n00000001: { parent: null, role: "user", text: "a", ...more } });
const BROKEN = [
  ["", "it is not JSON"],
  ["{", "it is not JSON"],
  ["[".repeat(50_000), "it is not JSON"],
  ["null", "no conversations"],
  ['{"format": "tech-assistant", "conversations": 5}', "no conversations"],
  [{ v: 2 }, "version"],
  [{ id: "../../etc" }, "its id"],
  [{ id: "__proto__" }, "its id"],
  [{ nodes: null }, "no turns"],
  [{ nodes: { n00000001: null } }, "broken"],
  [{ nodes: { constructor: { parent: null, role: "user", text: "a" } } }, "broken"],
  [{ nodes: turn({ parent: "n00000001" }) }, "missing"],
  [{ nodes: turn({ role: "system" }) }, "alternate"],
  [{ nodes: turn({ text: 5 }) }, "no text"],
  [{ nodes: turn({ text: "a".repeat(32_001) }) }, "32,000"],
  [{ nodes: turn({ text: " " }) }, "32,000"],
  [
    {
      nodes: Object.fromEntries(Array.from({ length: 4001 }, (_, n) => [`n${10_000_000 + n}`, {}])),
    },
    "4,000",
  ],
];

for (const [value, reason] of BROKEN) {
  test(`refused, for ${reason}: ${JSON.stringify(value).slice(0, 60)}`, async () => {
    take(await read(exported(conversation(9, "stays"))));
    const before = stored();
    const wrong =
      typeof value === "string"
        ? file(value)
        : exported(conversation(1, "a"), { ...conversation(2, "b"), ...value });
    await assert.rejects(
      async () => take(await read(wrong)),
      (error) => {
        assert.ok(error.message.startsWith("The file chats.json cannot be read: "));
        return error.message.includes(reason);
      },
    );
    assert.equal(stored(), before);
    assert.equal(take(await read(exported(conversation(9, "stays")))), 1);
    assert.equal(stored(), before);
  });
}

test("a file that is too large, or of too many conversations, is refused", async () => {
  const large = file("x");
  Object.defineProperty(large, "size", { value: 20_000_001 });
  await assert.rejects(read(large), /more than 20 MB/);
  const many = Array.from({ length: store.COUNT_MAX + 1 }, (_, n) => conversation(n, "a"));
  await assert.rejects(read(exported(...many)), /more than 300 conversations/);
});

test("one whose turns differ comes in beside the other, one whose turns are more joins it", async () => {
  store.put(conversation(20, "a", "b"));
  const count = store.all().length;
  take(await read(exported(conversation(20, "a", "b", "c"))));
  assert.equal(store.all().length, count);
  assert.equal(Object.keys(store.get("c00000014").nodes).length, 3);
  take(await read(exported(conversation(20, "a", "another b"))));
  assert.equal(store.all().length, count + 1);
  assert.equal(store.get("c00000014").nodes.n0014000001.text, "b");
});
