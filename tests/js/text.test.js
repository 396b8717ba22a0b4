// Texts as the server counts them, and cut as a person sees them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { counted, cut, size } from "../../assistant/web/static/lib/text.js";

const FAMILY = "👨\u200d👩\u200d👧"; // one character to a person, five code points

test("a text has as many characters as the server counts", () => {
  for (const [text, count] of [
    ["", 0],
    ["abc", 3],
    ["😀", 1],
    [FAMILY, 5],
    ["e\u0301", 2],
    ["\ud83d", 1], // half a pair
    ["\ude00\ud83d", 2],
    ["😀".repeat(32_000), 32_000],
  ]) {
    assert.equal(size(text), count, JSON.stringify(text.slice(0, 20)));
    assert.equal(size(text), [...text].length);
  }
});

test("a cut keeps at most so many, and no half of what is seen as one", () => {
  for (const [text, most, kept] of [
    ["abc", 3, "abc"],
    ["abc", 2, "ab"],
    ["a😀b", 2, "a😀"],
    ["a😀b", 1, "a"],
    [`a${FAMILY}b`, 3, "a"],
    [`a${FAMILY}b`, 6, `a${FAMILY}`],
    ["e\u0301x", 1, ""],
    ["x".repeat(300_000), 200_000, "x".repeat(200_000)],
  ]) {
    assert.equal(cut(text, most), kept);
  }
});

test("a number and its noun", () => {
  assert.equal(counted(1, "turn"), "1 turn");
  assert.equal(counted(1200, "turn"), "1,200 turns");
  assert.equal(counted(2, "entry", "entries"), "2 entries");
});
