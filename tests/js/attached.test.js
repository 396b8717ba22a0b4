// Files that go with a message, and come back out of one.
import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { pack, plain, read, unpack } from "../../assistant/web/static/composer/files.js";

const PY = { name: "app.py", text: "def f():\n\treturn 1" };
const MD = { name: "a b.md", text: "```python\nx\n```\n````" };

for (const [typed, files] of [
  ["Why?", [PY]],
  ["", [PY]],
  ["Why?\n\nAnd ```x```?", [PY, MD, { name: "Makefile", text: "\tx" }]],
  ["```python\nown\n```", [PY]],
  ["no file", []],
  ["", [{ name: "x.py", text: "\n\na\n\n" }]],
]) {
  test(`what is packed is unpacked: ${typed.slice(0, 10)} and ${files.length}`, () => {
    const whole = pack(typed, files);
    const found = unpack(whole);
    assert.equal(found.typed, typed);
    assert.equal(pack(found.typed, found.files), whole);
    assert.deepEqual(
      found.files.map(({ name }) => name),
      files.map(({ name }) => name),
    );
  });
}

for (const message of [
  "```python\nx\n```",
  "x",
  "",
  "a\n```",
  "``` \nx\n```",
  "x\n```python app.py\ny\n```",
]) {
  test(`nothing is taken out of ${JSON.stringify(message)}`, () =>
    assert.deepEqual(unpack(message), { typed: message, files: [] }));
}

test("a fence names its language and file, and is longer than those inside", () => {
  assert.equal(pack("Why?", [PY]), "Why?\n\n```python app.py\ndef f():\n\treturn 1\n```");
  assert.match(pack("", [MD]), /^`````markdown a b\.md\n/);
  assert.equal(plain("a`b\n\u202e c.py"), "a b c.py");
  assert.equal(plain("``"), "file.txt");
});

for (const [name, bytes, why] of [
  ["a.bin", new Uint8Array([0x80, 0x81]), "no text in UTF-8"],
  ["a.txt", "a\0b", "no text"],
  ["a.txt", " \n", "empty"],
  ["a.txt", "x".repeat(1_000_001), "1,000,001 bytes"],
]) {
  test(`${name} is refused: ${why}`, () =>
    assert.rejects(read(new File([bytes], name)), { message: new RegExp(why) }));
}

test("text is read as it is", async () => {
  const bytes = new Uint8Array([0xff, 0xfe, 0x61, 0]);
  assert.deepEqual(await read(new File([bytes], "w.txt")), { name: "w.txt", text: "a" });
  assert.deepEqual(await read(new File(["\ufeffa\r\n\tb"], "b.py")), {
    name: "b.py",
    text: "a\n\tb",
  });
});
