// The playground's runs in the browser's database: checked, bounded, and there without it too.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { die, disk, quiet } from "./browser.js";

let tabs = 0;
/** Another page of this browser. */
const open = async () => {
  const store = await import(`../../assistant/web/static/store/runs.js?tab=${tabs++}`);
  await store.loaded;
  return store;
};
const run = (number, more = {}) => ({
  id: `r${number}`,
  time: 1_700_000_000_000 + number,
  segments: [[`prompt ${number}`, true]],
  head: 0,
  literal: false,
  settings: { sampling: { temperature: 0.5 }, seed: 7, longest: 9, count: 2, stop: ["\n"] },
  versions: [{ name: "seed 7", text: " one", ids: [1, 2], note: "3 tokens" }],
  origin: null,
  ...more,
});
const ids = (store) => store.all().map(({ id }) => id);

beforeEach(() => {
  die();
  disk.others.runs = new Map();
  disk.opening = "";
});

test("what was run is there again, the newest first", async () => {
  const first = await open();
  first.keep(run(1));
  first.keep(run(2, { origin: { id: "c1", after: "n1", opened: "prompt" } }));
  await quiet();
  const next = await open();
  assert.deepEqual(ids(next), ["r2", "r1"]);
  assert.deepEqual(next.get("r1"), run(1));
  next.remove("r2");
  await quiet();
  assert.deepEqual(ids(await open()), ["r1"]);
});

test("only so many are kept, and none that is too long", async () => {
  const store = await open();
  for (let number = 0; number < 103; number++) store.keep(run(number));
  await quiet();
  assert.equal(store.all().length, 100);
  assert.equal(disk.others.runs.size, 100);
  assert.equal(store.get("r2"), undefined);
  store.keep(run(200, { segments: [["x".repeat(200_001), true]] }));
  assert.equal(store.get("r200"), undefined);
  // Without the way back to the chat it is short enough.
  const long = "x".repeat(120_000);
  store.keep(run(201, { segments: [[long, true]], origin: { id: "c", after: "n", opened: long } }));
  assert.equal(store.get("r201").origin, null);
});

test("what is stored is checked field by field", async () => {
  const odd = {
    v: 1,
    ...run(1),
    segments: [["kept", true], 5, [5, true], ["plain", "yes"]],
    head: -1,
    literal: "yes",
    settings: {
      sampling: { temperature: "hot", top_p: Infinity, evil: 1 },
      seed: -1,
      stop: [5, "a"],
    },
    versions: [{ name: 5, text: "x" }, { name: "a", text: "b", ids: ["x"], note: 5 }, null],
    origin: { id: 5 },
  };
  for (const [id, value] of [
    ["r1", odd],
    ["r2", { ...run(2), id: "r2" }], // of no known version
    ["r3", { v: 1, ...run(3), time: "now" }],
    ["r4", { v: 1, ...run(4), segments: "x" }],
    ["r5", { id: "r5" }],
  ])
    disk.others.runs.set(id, value);
  const store = await open();
  assert.deepEqual(ids(store), ["r1"]);
  assert.deepEqual(store.get("r1"), {
    ...run(1),
    segments: [
      ["kept", true],
      ["plain", false],
    ],
    settings: { sampling: {}, seed: null, longest: 256, count: 1, stop: ["a"] },
    versions: [{ name: "a", text: "b", ids: null, note: "" }],
  });
  assert.equal(disk.others.runs.size, 5); // what cannot be read is left alone
});

test("where the store is blocked, runs last as long as the page", async () => {
  disk.opening = "refused";
  const store = await open();
  store.keep(run(1));
  await quiet();
  assert.deepEqual(ids(store), ["r1"]);
});
