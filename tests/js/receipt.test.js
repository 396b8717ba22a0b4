// What is laid out of an imported file: each value of a receipt may be anything, and there may be
// any number of nodes.
import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { rows } from "../../assistant/web/static/chat/receipt.js";
import { append } from "../../assistant/web/static/lib/dom.js";
import * as records from "../../assistant/web/static/lib/records.js";
import { conversation } from "./browser.js";

const GOOD = {
  model: "m", revision: null, numerics: "float32", window: 8192, template: "T", template_hash: "abcdef0123456789",
  sampling: { temperature: 0.2, seed: 7 }, max_new_tokens: 9, stop: ["a\nb"], preamble: 1, history: 2,
  message: 3, reply: 4, edited: 1, dropped: [], left: [], reason: "stop", stopped_by: "x", ttft_s: 1,
  tokens_per_s: 5, cached: 2, continued: 0, system: "",
}; // biome-ignore format: a table

test("a receipt in words", () => {
  const said = Object.fromEntries(rows(GOOD));
  assert.equal(said.Model, "m");
  assert.equal(said.Adapter, undefined);
  const adapted = Object.fromEntries(rows({ ...GOOD, adapter: "lora · 0123456789ab" }));
  assert.equal(adapted.Adapter, "lora · 0123456789ab");
  assert.equal(said["Prompt template"], "T · abcdef012345");
  assert.equal(said.Window, "8,192 tokens");
  const old = { ...GOOD, window: null };
  assert.ok(!rows(old).some(([name]) => name === "Window"));
  assert.equal(said.Sampling, "temperature 0.2");
  assert.equal(said.Seed, "7");
  assert.equal(said["Stop strings"], "“a\\nb”");
  assert.equal(said.Prompt, "6 tokens, 2 of them cached");
  assert.equal(said["Edited by you"], "1 earlier reply");
  assert.equal(said.Ended, "at “x”");
  assert.equal(
    rows({ ...GOOD, reason: "length" }).find(([name]) => name === "Ended")[1],
    "at the length limit",
  );
});

test("what is cut says how long it is", () => {
  const sampling = Object.fromEntries([...Array(101).keys()].map((n) => [`p${n}`, n]));
  const told = { ...GOOD, model: "x".repeat(4_001), stop: Array(102).fill("end"), sampling };
  const said = Object.fromEntries(rows(told));
  assert.equal(said.Model, `${"x".repeat(4_000)}… (4,001 characters in all)`);
  assert.match(said["Stop strings"], /“end” … \(102 in all\)$/);
  assert.match(said.Sampling, /p99 99, … \(101 in all\)$/);
  assert.equal(Object.fromEntries(rows({ ...GOOD, model: "x".repeat(4_000) })).Model.length, 4_000);
});

let deep = [];
for (let n = 0; n < 1_000; n++) deep = [deep];
const ODD = {
  "no text": { toString: 1 },
  "no value": { valueOf: 1, toString: null, [Symbol.toPrimitive]: 1 },
  proto: JSON.parse('{"__proto__": {"a": 1}}'),
  list: [[], {}, null],
  deep,
  null: null,
  number: 1e308,
  nan: Number.NaN,
  name: "__proto__",
  long: "x".repeat(300_000),
  many: Array(10_000).fill("y".repeat(20)),
  "a list of endless ranges": [
    [0, 9e15],
    [-5, 1e308],
  ],
};

for (const [kind, value] of Object.entries(ODD))
  test(`a receipt of ${kind} is laid out within a bound`, () => {
    const receipts = Object.keys(GOOD).map((name) => ({ ...GOOD, [name]: value }));
    receipts.push(Object.fromEntries(Object.keys(GOOD).map((name) => [name, value])), {});
    receipts.push({ sampling: { a: value, [kind]: value, seed: value }, toString: 1 });
    for (const receipt of receipts)
      for (const [name, text] of rows(receipt)) {
        assert.equal(typeof text, "string", name);
        assert.ok(text.length < 450_000, name);
      }
  });

test("a receipt that is nested too deeply leaves, and its turn stays", () => {
  const one = conversation(1, "a", "b");
  const nid = Object.keys(one.nodes)[1];
  one.nodes[nid].receipt = { a: JSON.parse("[".repeat(50_000) + "]".repeat(50_000)) };
  const kept = records.check(one).nodes[nid];
  assert.equal(kept.receipt, undefined);
  assert.equal(kept.text, "b");
});

test("any number of nodes is laid out", () => {
  const got = [];
  append({ append: (...nodes) => void got.push(nodes.length) }, Array(300_000).fill("p"));
  assert.equal(
    got.reduce((sum, count) => sum + count, 0),
    300_000,
  );
});
