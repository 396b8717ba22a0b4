// The templates that a browser keeps, what changed between their versions, and fields of one line.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { die, disk, quiet } from "./browser.js";

const STATIC = "../../assistant/web/static";
const ID = "t0123456789abcdef";

let tabs = 0;
/** Another page of this browser, with modules of its own. */
const open = async () => {
  const store = await import(`${STATIC}/store/templates.js?tab=t${tabs++}`);
  await quiet();
  return store;
};
const names = (store) => store.kept().map(({ name }) => name);

beforeEach(() => {
  die();
  disk.others.templates.clear();
  Object.assign(disk, { opening: "", room: Infinity, aborts: false });
});

test("a template is kept with its versions, and found by the next page", async () => {
  const store = await open();
  const { id } = await store.save("One", "name = 'One'");
  await store.save("One", "name = 'One'", id); // nothing changed: no version
  await store.save("Uno", "name = 'Uno'", id);
  const other = await open();
  assert.deepEqual(names(other), ["Uno"]);
  const [found] = other.kept();
  assert.deepEqual(
    found.versions.map(({ toml }) => toml),
    ["name = 'One'", "name = 'Uno'"],
  );
  assert.equal(other.newest(found).toml, "name = 'Uno'");
  assert.equal(other.lasts(), true);
});

test("the oldest versions leave, and one template too many is refused", async () => {
  const store = await open();
  const { id } = await store.save("a", "0");
  for (let n = 1; n <= store.MAX.versions + 1; n++) await store.save("a", String(n), id);
  assert.equal(store.find(id).versions.length, store.MAX.versions);
  assert.equal(store.find(id).versions[0].toml, "2");
  for (let n = 1; n < store.MAX.templates; n++) await store.save(`t${n}`, "x");
  await assert.rejects(store.save("more", "x"), /At most 50 templates/);
  await store.save("a", "again", id); // another version is none too many
});

test("versions that two tabs save are all kept", async () => {
  const one = await open();
  const { id } = await one.save("a", "first");
  const two = await open();
  // Neither has heard of the other's yet.
  const [mine] = await Promise.all([one.save("a", "mine", id), two.save("b", "theirs", id)]);
  await quiet();
  const tomls = (/** @type {any} */ store) => store.find(id).versions.map(({ toml }) => toml);
  assert.deepEqual(tomls(await open()).sort(), ["first", "mine", "theirs"]);
  assert.deepEqual(tomls(one).sort(), tomls(two).sort());
  assert.equal(mine.id, id);
});

test("what was deleted can be put back", async () => {
  const store = await open();
  const kept = await store.save("One", "1");
  await store.remove(kept.id);
  assert.deepEqual([names(store), disk.others.templates.size], [[], 0]);
  await store.put(kept);
  assert.deepEqual(names(await open()), ["One"]);
});

test("where the browser stores nothing, it lasts as long as the page and says so", async () => {
  disk.opening = "refused";
  const store = await open();
  let heard = 0;
  store.listenKept(() => heard++);
  const kept = await store.save("One", "1");
  assert.deepEqual(names(store), ["One"]);
  assert.equal(store.lasts(), false);
  assert.ok(heard > 0 && kept.versions.length === 1);
});

test("what is stored is checked field by field", async () => {
  const { check, MAX } = await open();
  const good = { id: ID, name: "x", versions: [{ time: 1, toml: "a" }] };
  assert.deepEqual(check({ ...good, more: 1 }), good);
  for (const wrong of [
    null,
    [],
    { ...good, id: "../x" },
    { ...good, id: 5 },
    { ...good, name: "" },
    { ...good, name: "x".repeat(MAX.name + 1) },
    { ...good, versions: {} },
    { ...good, versions: [] },
    { ...good, versions: [{ time: -1, toml: "a" }] },
    { ...good, versions: [{ time: 1, toml: "a".repeat(MAX.chars + 1) }] },
    { ...good, versions: [{ time: 1, toml: 5 }] },
  ])
    assert.equal(check(wrong), null);
  const many = Array.from({ length: 30 }, (_, time) => ({ time, toml: "a" }));
  assert.equal(check({ ...good, versions: many }).versions.length, MAX.versions);
});

test("what changed, line by line", async () => {
  const { changes } = await import(`${STATIC}/templates/diff.js`);
  const shown = (was, now) => changes(was, now).map(({ sign, text }) => sign + text);
  assert.deepEqual(shown("a\nb\nc", "a\nb\nc"), []);
  assert.deepEqual(shown("a\nb\nc", "a\nx\nc"), ["-b", "+x"]);
  assert.deepEqual(shown("a\nc", "a\nb\nc"), ["+b"]);
  assert.deepEqual(shown("a\na\na", "a\na"), ["-a"]);
  assert.deepEqual(shown("1\n2\n3\n4\n5", "0\n2\n4\n6"), ["-1", "+0", "-3", "-5", "+6"]);
  const long = Array.from({ length: 2_000 }, (_, n) => String(n));
  assert.equal(changes(long.join("\n"), long.toReversed().join("\n")).length, 4_000);
});

test("a field of one line holds line ends, tabs and backslashes", async () => {
  const { spelt, meant } = await import(`${STATIC}/lib/spelt.js`);
  for (const text of ["\n\n", "a\tb", "\\n", "\\\n", "\\", "a\r\n", "", "Human:"])
    assert.equal(meant(spelt(text)), text);
  assert.equal(spelt("<|end|>\n"), "<|end|>\\n");
  assert.equal(meant("\\x\\"), "\\x\\"); // what means nothing stays
});
