// The tree of a conversation, and what is kept of one that comes from outside.

import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import * as records from "../../assistant/web/static/lib/records.js";
import { conversation } from "./browser.js";

const [N0, N1, N2] = ["n0001000000", "n0001000001", "n0001000002"];

test("what a conversation has is kept, all else leaves", () => {
  const one = conversation(1, "a", "b");
  one.nodes[N1] = {
    ...one.nodes[N1],
    ids: [1, 2],
    pinned: true,
    finish: "stop",
    receipt: { seed: 5 },
    sources: { matches: [], spans: [{ start: 0, end: 1 }], service: "s", note: "" },
  };
  const kept = { ...one, settings: { seed: 7 } };
  assert.deepEqual(records.check({ ...kept, extra: 1, settings: { seed: 7, more: 2 } }), kept);
  assert.deepEqual(records.check(JSON.parse(JSON.stringify(kept))), kept);
});

for (const [name, value] of Object.entries({
  ids: ["x"],
  pinned: "yes",
  finish: "<b>",
  receipt: "none",
  sources: 5,
  more: 1,
})) {
  test(`of a turn, ${name} is left out where it is not right`, () => {
    const one = conversation(1, "a", "b");
    one.nodes[N1][name] = value;
    assert.deepEqual(Object.keys(records.check(one).nodes[N1]), ["parent", "role", "text"]);
  });
}

test("a receipt has at most so many characters", () => {
  const one = conversation(1, "a", "b");
  one.nodes[N1].receipt = { model: "m".repeat(records.MAX.receipt) };
  assert.equal(records.check(one).nodes[N1].receipt, undefined);
});

test("times that cannot be are those of today", () => {
  const before = Date.now();
  for (const time of [null, -1, Infinity, NaN, "5", 1e15, before + 1e9]) {
    const { created, updated } = records.check({ ...conversation(1, "a"), updated: time });
    assert.ok(updated >= before && updated <= Date.now(), String(time));
    assert.equal(created, 1_700_000_000_001);
  }
});

test("a leaf that is not there is the last turn", () => {
  for (const leaf of ["n00000009", 5, undefined, "constructor"]) {
    assert.equal(records.check({ ...conversation(1, "a", "b"), leaf }).leaf, N1);
  }
  assert.equal(records.check({ ...conversation(1, "a", "b"), leaf: N0 }).leaf, N0);
  assert.equal(records.check({ ...conversation(1, "a", "b"), leaf: null }).leaf, null);
});

test("paths, versions and the way down", () => {
  const one = conversation(1, "a", "b", "c");
  one.nodes.n00000009 = { parent: N0, role: "assistant", text: "another b" };
  assert.deepEqual(records.path(one, N2), [N0, N1, N2]);
  assert.deepEqual(records.path(one, "n00000009"), [N0, "n00000009"]);
  assert.deepEqual(records.path(one, null), []);
  assert.deepEqual(records.family(one).get(N0), [N1, "n00000009"]);
  assert.deepEqual(records.family(one).get(""), [N0]);
  assert.equal(records.tip(one, N1), N2);
  assert.equal(records.tip(one, N0), "n00000009");
  assert.deepEqual(records.words(one), ["a", "a", "b", "c", "another b"]);
});

test("two states of one conversation are joined, and the newer one's title holds", () => {
  const older = conversation(1, "a", "b");
  const newer = { ...conversation(1, "a"), title: "renamed", updated: older.updated + 1 };
  newer.nodes.n00000009 = { parent: N0, role: "assistant", text: "c" };
  for (const both of [records.merge(older, newer), records.merge(newer, older)]) {
    assert.equal(both.title, "renamed");
    assert.deepEqual(Object.keys(both.nodes), [N0, N1, "n00000009"]);
  }
});

test("turns that the server tells stand behind each other, once", () => {
  const one = records.create(records.newId("c"));
  const told = [
    { nid: N0, role: "user", text: "A question\nand more" },
    { nid: N1, role: "assistant", text: "A reply", finish: "stop" },
  ];
  records.add(one, null, told);
  records.add(one, null, told);
  assert.deepEqual(records.path(one, one.leaf), [N0, N1]);
  assert.equal(one.title, "A question");
  assert.equal(one.nodes[N1].finish, "stop");
});

test("titles are one line of at most 60 characters, ids of a letter and hex", () => {
  assert.equal(records.titleOf("\n  one\ntwo"), "one");
  assert.equal(records.titleOf("x".repeat(60)).length, 60);
  assert.equal(records.titleOf("x".repeat(61)), `${"x".repeat(59)}…`);
  assert.match(records.newId("q"), /^q[0-9a-f]{16}$/);
});
