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
  assert.equal(store.keep(run(200, { segments: [["x".repeat(1_000_000), true]] })), false);
  assert.equal(store.get("r200"), undefined);
});

test("of a run that is too long the ids leave first, then the way back to the chat", async () => {
  const store = await open();
  const ids = Array(20_000).fill(12_345);
  const versions = Array.from({ length: 8 }, (_, at) => ({
    name: `${at}`,
    text: "a",
    ids,
    note: "",
  }));
  const long = (/** @type {number} */ length) => {
    const opened = "x".repeat(length);
    return { segments: [[opened, true]], versions, origin: { id: "c", after: "n", opened } };
  };
  assert.equal(store.keep(run(1, long(400_000))), true);
  assert.deepEqual(store.get("r1").versions[0], { name: "0", text: "a", ids: null, note: "" });
  assert.equal(store.get("r1").origin.id, "c");
  assert.equal(store.keep(run(2, long(600_000))), true);
  assert.equal(store.get("r2").origin, null);
});

test("versions that two tabs write into one run are all kept", async () => {
  const [one, two] = [await open(), await open()];
  const version = (/** @type {string} */ name, text = name) => ({
    name,
    text,
    ids: null,
    note: "",
  });
  one.keep(run(1, { versions: [version("seed 1", " as far")] }));
  await quiet();
  two.keep(run(1, { versions: [version("seed 2")] }));
  one.keep(run(1, { versions: [version("seed 1", " as far as it goes")] }));
  await quiet();
  const kept = (await open()).get("r1").versions.map(({ text }) => text);
  assert.deepEqual(kept, [" as far as it goes", "seed 2"]);
  assert.equal(one.get("r1").versions.length, 2);
});

test("a version that came from the chat stays one", async () => {
  const store = await open();
  store.keep(run(1, { versions: [{ name: "a", text: "b", ids: null, note: "", plain: true }] }));
  await quiet();
  assert.equal((await open()).get("r1").versions[0].plain, true);
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
