// What is kept of settings that come from outside, and what a changed field makes of them.
import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSettings, choose } from "../../assistant/web/static/lib/settings.js";

const ALL = {
  template: "short",
  template_text: "name = 1",
  system: "Be brief.",
  temperature: 0.5,
  top_p: 0.5,
  top_k: 5,
  min_p: 0.1,
  repetition_penalty: 1.1,
  presence_penalty: -2,
  typical_p: 1,
  dry_allowed_length: 3,
  logit_bias: [
    [5, -100],
    [6, 2.5],
  ],
  max_new_tokens: 9,
  seed: 0,
  keep_all: true,
};

test("settings are kept field by field", () => {
  assert.deepEqual(checkSettings({ ...ALL, more: 1 }), ALL);
  for (const value of [null, undefined, 5, "x", []]) assert.deepEqual(checkSettings(value), {});
});

for (const [name, value] of [
  ["template_text", 5],
  ["template_text", "x".repeat(100_001)],
  ["system", ["x"]],
  ["system", " \n"],
  ["system", "x".repeat(100_001)],
  ["top_p", 0],
  ["typical_p", 0],
  ["presence_penalty", 2.5],
  ["dry_allowed_length", 2.5],
  ["logit_bias", [[5, 101]]],
  ["logit_bias", [[-1, 1]]],
  ["logit_bias", "5: 1"],
  ["top_k", 1.5],
  ["top_k", 1001],
  ["min_p", -0.1],
  ["repetition_penalty", 2.5],
  ["temperature", 2.1],
  ["temperature", -1],
  ["temperature", "warm"],
  ["temperature", "1"],
  ["temperature", null],
  ["temperature", []],
  ["temperature", true],
  ["max_new_tokens", 0],
  ["max_new_tokens", 1.5],
  ["seed", -1],
  ["seed", 2 ** 53],
  ["keep_all", "yes"],
]) {
  test(`${name} is not ${JSON.stringify(value).slice(0, 20)}`, () => {
    const { [name]: _, ...others } = ALL;
    assert.deepEqual(checkSettings({ ...ALL, [name]: value }), others);
  });
}

for (const [name, value, becomes] of [
  ["temperature", "0.7", { temperature: 0.7 }],
  ["logit_bias", "5: -100, 6=2.5", { logit_bias: ALL.logit_bias }],
  ["logit_bias", "5", {}],
  ["temperature", "0", { temperature: 0 }],
  ["max_new_tokens", "12", { max_new_tokens: 12 }],
  ["template", "short", { template: "short" }],
  ["template", "usual", {}],
  ["system", "Be brief.", { system: "Be brief." }],
  ["system", "", {}],
  ["top_k", "7", { top_k: 7 }],
  ["keep_all", true, { keep_all: true }],
  ["keep_all", false, {}],
  ["seed", "", { seed: undefined }],
  ["seed", "9", { seed: 9 }],
]) {
  test(`a field for ${name} that says ${JSON.stringify(value)}`, () => {
    const { seed, ...others } = { seed: 1, ...becomes };
    const wanted = seed === undefined ? others : { seed, ...others };
    assert.deepEqual(choose({ seed: 1 }, name, value, "usual"), wanted);
  });
}

test("a template's text goes with its name alone", () => {
  const own = { template: "Mine", template_text: "x", seed: 1 };
  assert.deepEqual(choose(own, "seed", "2", "usual"), { ...own, seed: 2 });
  assert.deepEqual(choose(own, "template", "short", "usual"), { template: "short", seed: 1 });
  assert.deepEqual(choose(own, "template", "usual", "usual"), { seed: 1 });
  assert.deepEqual(checkSettings({ template_text: "x" }), {});
  for (const name of [5, "x".repeat(201)])
    assert.deepEqual(checkSettings({ template: name, template_text: "x" }), {});
});
