// What is kept of found sources, and how they are told.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  checkSources,
  linesOf,
  moreOf,
  sentenceOf,
} from "../../assistant/web/static/lib/matches.js";

const MATCH = {
  start: 0,
  end: 9,
  text: "x",
  path: "a.py",
  start_line: 1,
  end_line: 2,
  licence: "MIT",
  source: "",
  url: "",
  length: 120,
  others: 0,
};

test("what is right is kept, and nothing else", () => {
  const sources = { matches: [MATCH], spans: [{ start: 1, end: 2 }], service: "s", note: "n" };
  assert.deepEqual(checkSources({ ...sources, more: 1 }), sources);
  assert.deepEqual(checkSources({}), { matches: [], spans: [], service: "", note: "" });
  const [wrong] = checkSources({
    matches: [{ start: -1, path: 5, url: "javascript:alert(1)" }],
  }).matches;
  assert.deepEqual([wrong.start, wrong.path, wrong.url], [0, "", ""]);
  assert.equal(checkSources({ matches: Array(99).fill(MATCH) }).matches.length, 50);
});

test("a match is told in words", () => {
  assert.equal(sentenceOf(MATCH), "Matches a.py, lines 1–2, MIT");
  assert.equal(sentenceOf({ ...MATCH, end_line: 1 }), "Matches a.py, line 1, MIT");
  assert.equal(moreOf(MATCH), "120 characters");
  assert.equal(
    moreOf({ ...MATCH, source: "a corpus", others: 1 }),
    "a corpus · 120 characters · and in 1 more place",
  );
  assert.deepEqual(linesOf(undefined), []);
  assert.deepEqual(
    linesOf({ matches: [], spans: [{ start: 0, end: 1 }], service: "s", note: "" }),
    ["1 part stands in the training data, says s; it names no source"],
  );
});
