// Parts that lie over each other, and the stretches that they cut a text into.
import assert from "node:assert/strict";
import { test } from "node:test";
import { layered, stretches } from "../../assistant/web/static/lib/layers.js";

const part = (start, end) => {
  const over = Array.from({ length: end - start }, (_, index) => start + index);
  return { part: { start, end }, over };
};
const cut = (count, covers, alike = () => true) => {
  const { sets, setOf } = layered(count, covers);
  return stretches(setOf, alike).map(([first, last]) => [
    first,
    last,
    ...sets[setOf[first]].map(({ start, end }) => `${start}-${end}`),
  ]);
};

test("nothing is cut where no part lies", () => {
  assert.deepEqual(cut(0, []), []);
  assert.deepEqual(cut(5, []), []);
});

test("a part within another leaves it whole, the shorter one first", () => {
  const found = [
    [0, 2, "0-9"],
    [3, 4, "3-5", "0-9"],
    [5, 8, "0-9"],
  ];
  assert.deepEqual(cut(10, [part(0, 9), part(3, 5)]), found);
  assert.deepEqual(cut(10, [part(3, 5), part(0, 9)]), found);
});

test("parts that overlap make three stretches", () => {
  assert.deepEqual(cut(6, [part(0, 4), part(2, 6)]), [
    [0, 1, "0-4"],
    [2, 3, "0-4", "2-6"],
    [4, 5, "2-6"],
  ]);
});

test("letters that are not alike stand apart", () => {
  assert.deepEqual(
    cut(4, [part(0, 4)], (one) => one !== 1),
    [
      [0, 1, "0-4"],
      [2, 3, "0-4"],
    ],
  );
});

test("letters between two parts are in none", () => {
  assert.deepEqual(cut(5, [part(0, 2), part(3, 5)]), [
    [0, 1, "0-2"],
    [3, 4, "3-5"],
  ]);
});
