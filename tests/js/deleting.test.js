// Turns that leave a conversation and come back.
import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { remove } from "../../assistant/web/static/lib/deleting.js";
import * as records from "../../assistant/web/static/lib/records.js";

const nid = (number) => `n${String(number).padStart(16, "0")}`;
/** [parent, role] of each turn; the leaf is the last one. */
const conversation = (...turns) => {
  const record = records.create(records.newId("c"));
  turns.forEach(([parent, role], index) => {
    record.nodes[nid(index)] = {
      parent: parent === null ? null : nid(parent),
      role: role === "u" ? "user" : "assistant",
      text: `text ${index}`,
      ids: [index],
    };
  });
  record.leaf = nid(turns.length - 1);
  return record;
};
const shown = (record) => records.path(record, record.leaf).map((id) => Number(id.slice(1)));
const THREE = [
  [null, "u"],
  [0, "a"],
  [1, "u"],
  [2, "a"],
  [3, "u"],
  [4, "a"],
];

for (const [name, number, alone, left] of [
  ["the first exchange", 0, true, [2, 3, 4, 5]],
  ["one in the middle", 2, true, [0, 1, 4, 5]],
  ["the last exchange", 4, true, [0, 1, 2, 3]],
  ["all from a message on", 2, false, [0, 1]],
  ["a reply and what follows", 3, false, [0, 1, 2]],
  ["everything", 0, false, []],
]) {
  test(`${name} leaves and comes back`, () => {
    const record = conversation(...THREE);
    const before = structuredClone(record);
    const putBack = remove(record, nid(number), alone);
    assert.deepEqual(shown(record), left);
    const gone = Object.values(record.nodes).filter((node) => node.gone);
    assert.ok(gone.length && gone.every(({ text, ids }) => text === "" && !ids));
    const read = records.check(JSON.parse(JSON.stringify(record))); // as the store has it
    assert.deepEqual(shown(read), left);
    putBack(record);
    assert.deepEqual(record, before);
  });
}

test("versions behind a deleted exchange move up, too", () => {
  const record = conversation(...THREE, [2, "a"], [6, "u"], [7, "a"]);
  remove(record, nid(2), true);
  assert.deepEqual(shown(record), [0, 1, 7, 8]);
  assert.deepEqual(records.family(record).get(nid(1)), [nid(4), nid(7)]);
});

test("what another tab put behind a deleted turn is still read", () => {
  const record = conversation(...THREE.slice(0, 4));
  const other = structuredClone(record);
  remove(record, nid(2), true);
  records.add(other, nid(3), [{ nid: nid(8), role: "user", text: "more" }]);
  const both = records.check(records.merge({ ...other, updated: 1 }, { ...record, updated: 2 }));
  assert.deepEqual(records.path(both, nid(8)).at(-1), nid(8));
  assert.deepEqual(records.path(both, nid(8)).length, 3);
});

test("a turn that was deleted has nothing left to find", () => {
  const record = conversation(...THREE);
  remove(record, nid(2), true);
  assert.ok(!JSON.stringify(record).includes("text 2"));
});

test("what moves up was written behind what is gone: its receipt says so", () => {
  const record = conversation(...THREE);
  for (const number of [1, 3, 5]) record.nodes[nid(number)].receipt = { seed: number };
  const before = structuredClone(record);
  const putBack = remove(record, nid(2), true);
  assert.deepEqual(record.nodes[nid(1)].receipt, { seed: 1 });
  assert.deepEqual(record.nodes[nid(5)].receipt, { seed: 5, cut: true });
  putBack(record);
  assert.deepEqual(record, before);
});

test("roles alternate where a neighbour is gone", () => {
  const record = conversation(...THREE);
  record.nodes[nid(2)] = { ...record.nodes[nid(2)], text: "", gone: true };
  assert.deepEqual(shown(record), [0, 1, 4, 5]);
});
