// How a bias of tokens is written and read back.
import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { isSampler, readBias, writeBias } from "../../assistant/web/static/lib/samplers.js";

for (const [text, bias] of [
  ["", []],
  [" , ", []],
  ["5: 1", [[5, 1]]],
  [
    "5:1,\n6 = -2.5 ",
    [
      [5, 1],
      [6, -2.5],
    ],
  ],
  ["5: +3", [[5, 3]]],
  ["5", null],
  ["5: ", null],
  ["5: 101", null],
  ["5: x", null],
  ["-5: 1", null],
  ["5.5: 1", null],
  ["5: 1e9", null],
  ["99999999999: 1", null],
]) {
  test(`a bias written as ${JSON.stringify(text)}`, () => {
    assert.deepEqual(readBias(text), bias);
    if (bias) assert.deepEqual(readBias(writeBias(bias)), bias);
  });
}

test("what nothing could be drawn at is no value", () => {
  assert.equal(isSampler("typical_p", 0), false);
  assert.equal(isSampler("top_p", 0.01), true);
  assert.equal(isSampler("dry_allowed_length", 1.5), false);
  assert.equal(isSampler("presence_penalty", -2), true);
});
