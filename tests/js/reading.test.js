// What a block of code is called as a file, and which messages hold code.
import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { hasFence } from "../../assistant/web/static/reading/folding.js";
import { nameOf } from "../../assistant/web/static/reading/names.js";

test("a block is saved under its own name, or by its language", () => {
  for (const [language, name, expected] of [
    ["python", "", "code.py"],
    ["C++", "", "code.cpp"],
    ["c#", "", "code.cs"],
    ["dockerfile", "", "Dockerfile"],
    ["make", "", "Makefile"],
    ["", "", "code.txt"],
    ["no-such", "", "code.txt"],
    ["constructor", "", "code.txt"],
    ["python", "src/app.py", "app.py"],
    ["python", "..\\..\\app.py", "app.py"],
    ["python", "src/", "code.py"],
  ])
    assert.equal(nameOf(language, name), expected);
  assert.equal(nameOf("js"), "code.js");
});

test("a message with a fence is known", () => {
  for (const text of ["```", "a\n```py\nb", "   ~~~\nx"]) assert.ok(hasFence(text), text);
  for (const text of ["a ```", "    ```\nx", "``x``"]) assert.ok(!hasFence(text), text);
});
