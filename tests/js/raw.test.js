// What is plain in a prompt stays plain through edits.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  appended,
  edited,
  fromSegments,
  toSegments,
} from "../../assistant/web/static/playground/raw.js";

const CHAT = [
  ["<fim_prefix>Q: ", true],
  ["a <fim_prefix> b", false],
  ["\nA:", true],
];
/** The plain parts after each of the edits. */
const plain = (segments, ...texts) => {
  const raw = texts.reduce((last, text) => edited(last, text), fromSegments(segments));
  return toSegments(raw)
    .filter(([, trusted]) => !trusted)
    .map(([part]) => part);
};
const [before, inner, behind] = CHAT.map(([text]) => text);

test("segments come back as they were", () => {
  assert.deepEqual(toSegments(fromSegments(CHAT)), CHAT);
  assert.deepEqual(toSegments(fromSegments([])), []);
  assert.deepEqual(
    toSegments(
      fromSegments([
        ["", false],
        ["a", true],
      ]),
    ),
    [["a", true]],
  );
});

for (const [what, text, left] of [
  ["before", `more ${before}${inner}${behind}`, [inner]],
  ["behind", `${before}${inner}${behind} more`, [inner]],
  ["within", `${before}a <fim_prefix> and b${behind}`, ["a <fim_prefix> and b"]],
  ["across its end", `${before}a <fim_prefix> -A:`, ["a <fim_prefix> "]],
  ["its middle taken out", `${before}a  b${behind}`, ["a  b"]],
  ["all replaced", "nothing", []],
]) {
  test(`an edit ${what}`, () => {
    assert.deepEqual(plain(CHAT, text), left);
  });
}

test("what looks special stays plain where a part of it was typed anew", () => {
  const text = `${before.slice(0, -3)}!! a <fim_prefix> c!! A:`;
  assert.ok(plain(CHAT, text).some((part) => part.includes("<fim_prefix>")));
  assert.ok(!plain(CHAT, text).some((part) => part.startsWith("<fim_prefix>Q")));
});

test("no range ends within a character of two units", () => {
  const segments = [
    ["x", true],
    ["🙂🙃", false],
    ["y", true],
  ];
  for (const text of ["x🙃🙃y", "x🙂🙂y", "x🙂🙃🙂y", "🙃🙂🙃y", "x🙂🙃🙃"]) {
    const raw = edited(fromSegments(segments), text);
    for (const [part] of toSegments(raw)) assert.ok(part.isWellFormed(), JSON.stringify(part));
    assert.equal(
      toSegments(raw)
        .map(([part]) => part)
        .join(""),
      text,
    );
  }
});

test("a long prompt is followed key by key", () => {
  let raw = fromSegments([
    ["a".repeat(100_000), true],
    ["<b>".repeat(10_000), false],
  ]);
  for (let at = 0; at < 50; at++)
    raw = edited(raw, `${raw.text.slice(0, at)}x${raw.text.slice(at)}`);
  assert.deepEqual(raw.plain, [[100_050, 130_050]]);
});

/** What counts: look-alikes that touch no plain range, as completion/raw.py has it. */
const counting = ({ text, plain }) =>
  [...text.matchAll(/<[^<>\s]+>/g)]
    .filter(({ 0: part, index }) =>
      plain.every(([start, end]) => end <= index || start >= index + part.length),
    )
    .map(([part]) => part);
const END = "<|endoftext|>";
const SAID = [
  ["T:", true],
  [`say ${END} now`, false],
  ["\nA:", true],
];

test("what a message spells stays text where it is cut and pasted elsewhere", () => {
  const raw = fromSegments(SAID);
  const cut = edited(raw, "T:\nA:");
  assert.deepEqual(counting(edited(cut, `T:\nA:say ${END} now`)), []);
  assert.deepEqual(counting(edited(cut, `${END}T:\nA:`)), []);
  let typing = cut;
  for (let at = 0; at < 50; at++) typing = edited(typing, `${typing.text}x`);
  assert.deepEqual(counting(edited(typing, raw.text)), []); // undone
  const half = edited(raw, `T:say ${END.slice(0, 6)} now\nA:`);
  assert.deepEqual(counting(edited(half, raw.text)), []);
  assert.deepEqual(counting(edited(cut, "T:\nA:<|user|>")), ["<|user|>"]); // the message has it not
});

test("where several edits give the same text, what a message spells stays text", () => {
  const raw = fromSegments([
    ["<|user|>", true],
    ["<|user|> hi", false],
  ]);
  assert.deepEqual(counting(raw), ["<|user|>"]);
  assert.deepEqual(counting(edited(raw, "<|user|> hi")), []);
  assert.deepEqual(counting(edited(raw, "<|user|>", [0, raw.text.length])), []); // all pasted over
  assert.deepEqual(counting(edited(raw, "<|user|>x<|user|> hi")), ["<|user|>"]);
  const twice = edited(raw, `<|user|>${raw.text}`);
  assert.deepEqual(counting(twice), []);
});

test("what is put behind a prompt is trusted or stays text", () => {
  const raw = fromSegments([["Q:", true]]);
  assert.deepEqual(counting(appended(raw, ` ${END}`, true)), [END]);
  const plain = appended(raw, ` ${END}`, false);
  assert.deepEqual(counting(plain), []);
  assert.deepEqual(counting(edited(edited(plain, "Q:"), `Q: ${END}`)), []); // undone, and done again
  assert.deepEqual(counting(appended(fromSegments([["<|end", true]]), "oftext|>", false)), []);
});
