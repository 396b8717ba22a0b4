// What a search finds in a conversation, and under which day a list puts it.

import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { byDay, day } from "../../assistant/web/static/lib/days.js";
import { look, mark, wordsOf } from "../../assistant/web/static/lib/search.js";
import { conversation } from "./browser.js";

const find = (record, wanted) => look(record, wordsOf(wanted));
const shown = ({ pieces }) =>
  pieces.map(({ text, found }) => (found ? `[${text}]` : text)).join("");

test("a turn that has all the words is found, whatever their case", () => {
  const one = conversation(1, "What is a Zebra?", "A striped horse.", "and a horse?");
  assert.deepEqual(find(one, "zebra WHAT").hits.map(shown), ["[What] is a [Zebra]?"]);
  assert.deepEqual(
    find(one, "horse").hits.map(({ nid, hidden }) => [nid, hidden]),
    [
      ["n0001000001", false],
      ["n0001000002", false],
    ],
  );
  assert.equal(find(one, "zebra striped"), null); // no turn has both
});

test("the title alone is a find without a turn", () => {
  const one = { ...conversation(1, "a", "b"), title: "Lists" };
  assert.deepEqual(find(one, "list"), { hits: [], more: 0 });
});

test("a turn of another version is found behind those that are shown, and said", () => {
  const one = conversation(1, "question", "an answer");
  one.nodes.n000100ffff = { parent: "n0001000000", role: "assistant", text: "hidden answer" };
  const { hits } = find(one, "answer");
  assert.deepEqual(
    hits.map(({ nid, hidden }) => [nid, hidden]),
    [
      ["n0001000001", false],
      ["n000100ffff", true],
    ],
  );
});

test("only so many turns of one are listed, and the others counted", () => {
  const one = conversation(1, ...Array.from({ length: 7 }, (_, n) => `word ${n}`));
  const { hits, more } = find(one, "word");
  assert.deepEqual([hits.length, more], [3, 4]);
});

test("a snippet stands around the longest word, in one line, and cuts no character", () => {
  const text = `${"a😀".repeat(40)} so the\n  needle ${"😀".repeat(400)}`;
  const [hit] = find(conversation(1, text), "needle so").hits;
  const line = shown(hit);
  assert.match(line, /^… \[so\] the \[needle\] /);
  assert.ok(line.length < 320 && line.endsWith(" …") && line.isWellFormed());
});

test("what is typed is text and no pattern", () => {
  const one = conversation(1, "f(x) = .* [a] \\d$");
  for (const wanted of ["f(x)", ".*", "[a]", "\\d$", "(", "\\"]) {
    assert.ok(find(one, wanted)?.hits.length, wanted);
  }
  assert.equal(find(one, "f.x"), null);
  assert.deepEqual(mark("a.b", []), [{ text: "a.b", found: false }]);
});

test("a time stands under its day", () => {
  const now = new Date(2024, 2, 11, 0, 30);
  const at = (...time) => day(new Date(2024, ...time).getTime(), now);
  assert.equal(at(2, 11, 0, 0), "Today");
  assert.equal(at(2, 10, 23, 59), "Yesterday");
  assert.equal(at(2, 9, 23, 59), "Previous 7 days");
  assert.equal(at(2, 4, 0, 0), "Previous 7 days");
  assert.equal(at(2, 3, 23, 59), "Earlier");
  const groups = byDay([{ updated: now.getTime() }, { updated: 0 }, { updated: 1 }], now);
  assert.deepEqual(
    [...groups].map(([name, all]) => [name, all.length]),
    [
      ["Today", 1],
      ["Earlier", 2],
    ],
  );
});
