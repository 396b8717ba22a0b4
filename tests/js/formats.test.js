// What other programs export becomes conversations of ours.

import "./browser.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { openai, read } from "../../assistant/web/static/files/formats.js";
import * as records from "../../assistant/web/static/lib/records.js";
import { conversation } from "./browser.js";

const readJson = (value) =>
  read("chats.json", typeof value === "string" ? value : JSON.stringify(value));
/** The open path as "u: a question", "a: a reply". */
const shown = (record) =>
  records.path(record, record.leaf).map((nid) => {
    const { role, text } = record.nodes[nid];
    return `${role[0]}: ${text}`;
  });
/** All paths of a tree, each as its texts joined by ">". */
const paths = (record) => {
  const parents = new Set(Object.values(record.nodes).map(({ parent }) => parent));
  return Object.keys(record.nodes)
    .filter((nid) => !parents.has(nid))
    .map((nid) =>
      records
        .path(record, nid)
        .map((each) => record.nodes[each].text)
        .join(" > "),
    );
};
const says = (role, content) => ({ role, content });
const user = (content) => says("user", content);
const assistant = (content) => says("assistant", content);

// ChatGPT: {id: [parent, role, parts or content, more of the message]}
const mapping = (nodes) =>
  Object.fromEntries(
    Object.entries(nodes).map(([id, [parent, role, content, more]]) => {
      const parts = Array.isArray(content)
        ? { content_type: "multimodal_text", parts: content }
        : typeof content === "string"
          ? { content_type: "text", parts: [content] }
          : content;
      return [id, { id, parent, message: role && { author: { role }, content: parts, ...more } }];
    }),
  );
const chatGpt = (nodes, current_node) => ({ title: "T", mapping: mapping(nodes), current_node });

test("ChatGPT's export is a tree, and its open path stays open", () => {
  const nodes = mapping({
    root: [null, null],
    sys: ["root", "system", ""],
    q2: ["sys", "user", "edited"],
    q1: ["sys", "user", "first"],
    a1: ["q1", "assistant", "reply"],
    a3: ["q2", "assistant", "third reply"],
    a2: ["q2", "assistant", "second reply"],
  });
  nodes.sys.children = ["q1", "q2"];
  nodes.q2.children = ["a2", "a3"];
  const file = [
    { title: " A\n title ", create_time: 1.6e9, update_time: 1600000001.5, mapping: nodes },
    { title: null, mapping: nodes, current_node: "a2" },
  ];
  const { conversations, left } = readJson(file);
  const [one, other] = conversations;
  assert.deepEqual(paths(one), ["first > reply", "edited > second reply", "edited > third reply"]);
  assert.deepEqual(shown(one), ["u: edited", "a: third reply"]); // the newest, where none is open
  assert.deepEqual(shown(other), ["u: edited", "a: second reply"]);
  assert.deepEqual([one.title, one.created, one.updated], ["A title", 1.6e12, 1600000001500]);
  assert.equal(other.title, "first");
  assert.equal(left, "");
});

test("open-webui's export is a tree too, or a list where there is nothing else", () => {
  const message = (id, parentId, role, content, more) => ({ id, parentId, role, content, ...more });
  const messages = {
    q: message("q", null, "user", "question", { childrenIds: ["b", "a"] }),
    a: message("a", "q", "assistant", "one"),
    b: message("b", "q", "assistant", "other"),
  };
  const chat = { title: "T", history: { messages, currentId: "a" }, messages: [user("no")] };
  const inList = [{ id: "x", title: "Outer", created_at: 1_600_000_000, chat }];
  for (const value of [inList, inList[0], chat, { chat }]) {
    const [record] = readJson(value).conversations;
    assert.deepEqual(paths(record), ["question > other", "question > one"]);
    assert.deepEqual(shown(record), ["u: question", "a: one"]);
    assert.equal(record.title, value === chat || value.chat === chat ? record.title : "Outer");
  }
  assert.equal(readJson(inList).conversations[0].created, 1.6e12);
  assert.equal(readJson({ chat }).conversations[0].title, "T");
  const [listed] = readJson({
    chat: { messages: Object.values(messages).slice(0, 2) },
  }).conversations;
  assert.deepEqual(shown(listed), ["u: question", "a: one"]);
});

const TALK = [user("a"), assistant("b")];
const SHAPES = {
  "a list of messages": TALK,
  "messages with a title": { title: "T", messages: TALK },
  "a list of those": [{ messages: TALK }],
  "a list of lists": [TALK],
  "lines of messages": TALK.map((each) => JSON.stringify(each)).join("\n"),
  "lines of conversations": `${JSON.stringify({ messages: TALK })}\r\n\n${JSON.stringify(TALK)}\n`,
  "texts in parts": [
    user([{ type: "text", text: "a" }]),
    assistant([{ type: "output_text", text: "b" }]),
  ],
};
for (const [name, value] of Object.entries(SHAPES)) {
  test(`OpenAI messages: ${name}`, () => {
    for (const record of readJson(value).conversations) {
      assert.deepEqual(shown(record), ["u: a", "a: b"]);
      assert.equal(record.title, value.title ?? "a");
    }
  });
}

const image = { content_type: "image_asset_pointer", asset_pointer: "x" };
const details = (type) =>
  `<details type="${type}" done="true">\n<summary>x</summary>\ny\n</details>\n`;
// [name, what is read, the open path, what is left out]
const RULES = [
  [
    "system turns",
    [says("system", "s"), says("developer", "d"), ...TALK],
    "u: a|a: b",
    "2 system messages",
  ],
  [
    "a turn of another role",
    [says("critic", "s"), ...TALK],
    "u: a|a: b",
    "1 message of another role",
  ],
  ["empty system turns, silently", [says("system", ""), ...TALK], "u: a|a: b", ""],
  [
    "tools",
    [user("a"), { ...assistant(null), tool_calls: [{}, {}] }, says("tool", "t"), assistant("b")],
    "u: a|a: b",
    "1 tool message, 2 tool calls",
  ],
  [
    "neighbours of one role",
    [user("a"), user("b"), assistant("c"), assistant("d")],
    "u: a\n\nb|a: c\n\nd",
    "",
  ],
  [
    "turns that the left ones part",
    [user("a"), says("system", "s"), user("b")],
    "u: a\n\nb",
    "1 system message",
  ],
  [
    "a reply at the beginning",
    [assistant("x"), assistant("y"), ...TALK],
    "u: a|a: b",
    "2 replies before the first question",
  ],
  [
    "an empty question",
    [user("a"), assistant("b"), user(" \n"), assistant("c")],
    "u: a|a: b\n\nc",
    "",
  ],
  [
    "empty replies",
    [user("a"), assistant(null), user("b"), assistant("")],
    "u: a|a: |u: b|a: ",
    "",
  ],
  ["line ends", [user("a\r\nb\rc\td"), assistant("\ud83d")], "u: a\nb\nc\td|a: \ufffd", ""],
  [
    "parts",
    [
      user([
        { type: "image_url" },
        { type: "input_audio" },
        { type: "file" },
        { type: "what" },
        5,
        null,
        "a",
        { type: "text", text: "b" },
        { type: "text", text: 5 },
      ]),
    ],
    "u: a\n\nb",
    "1 image, 1 recording, 1 file, 1 part that is no text",
  ],
  [
    "open-webui's files and folded thoughts",
    {
      messages: [
        { ...user("a"), files: [{ type: "image" }, { type: "doc" }, 5] },
        assistant(`${details("reasoning")}b\n${details("tool_calls")}c`),
      ],
    },
    "u: a|a: b\n\nc",
    "1 image, 2 files, 1 tool call, 1 thought",
  ],
  [
    "thoughts that never end",
    [user("a"), assistant('<details type="reasoning">b')],
    'u: a|a: <details type="reasoning">b',
    "",
  ],
  [
    "ChatGPT's images and files",
    chatGpt({
      q: [
        null,
        "user",
        [image, "a", { content_type: "audio_transcription", text: "b" }],
        { metadata: { attachments: [{ mime_type: "image/png" }, { mime_type: "text/csv" }] } },
      ],
    }),
    "u: a\n\nb",
    "1 image, 1 file",
  ],
  [
    "ChatGPT's tools and thoughts",
    chatGpt(
      {
        h: [null, "user", "hidden", { metadata: { is_visually_hidden_from_conversation: true } }],
        c: ["h", "user", { content_type: "user_editable_context", user_profile: "x" }],
        q: ["c", "user", "a"],
        t: ["q", "assistant", { content_type: "thoughts", thoughts: [] }],
        r: ["t", "assistant", "search()", { recipient: "browser" }],
        x: ["r", "assistant", { content_type: "code", text: "x" }, { recipient: null }],
        o: ["x", "tool", { content_type: "execution_output", text: "1" }],
        i: ["o", "tool", [image]],
        a: ["i", "assistant", "b", { recipient: "all" }],
      },
      "a",
    ),
    "u: a|a: b",
    "1 system message, 1 tool message, 1 image, 2 tool calls, 1 thought",
  ],
  [
    "an open turn that is left out",
    chatGpt({ q: [null, "user", "a"], t: ["q", "tool", "t"], u: [null, "user", "b"] }, "t"),
    "u: a",
    "1 tool message",
  ],
  [
    "an open turn that goes on",
    chatGpt({ q: [null, "user", "a"], r: ["q", "user", "b"], u: [null, "user", "c"] }, "q"),
    "u: a\n\nb",
    "",
  ],
  [
    "a circle, and a parent that is missing",
    chatGpt({
      q: [null, "user", "a"],
      x: ["y", "user", "x"],
      y: ["x", "assistant", "y"],
      z: ["nowhere", "user", "z"],
      s: ["s", "user", "s"],
    }),
    "u: a",
    "4 turns that belong nowhere",
  ],
  [
    "what is no node",
    {
      mapping: {
        a: null,
        b: 5,
        ...mapping({ q: [null, "user", "a"] }),
        c: { message: 5 },
        d: { message: {} },
      },
    },
    "u: a",
    "",
  ],
  [
    "other conversations",
    [{ messages: TALK }, { messages: [] }, { what: 1 }, 5],
    "u: a|a: b",
    "2 entries of an unknown kind, 1 conversation without a question",
  ],
];
for (const [name, value, path, left] of RULES) {
  test(`of others' turns: ${name}`, () => {
    const found = readJson(value);
    assert.equal(shown(found.conversations[0]).join("|"), path);
    assert.equal(found.left, left && `Left out: ${left}.`);
    for (const record of found.conversations) assert.deepEqual(records.check(record), record);
  });
}

test("a turn that goes on in two ways is two turns", () => {
  const value = chatGpt({
    q: [null, "user", "q"],
    a: ["q", "assistant", "a"],
    b: ["a", "assistant", "b"],
    c: ["a", "tool", ""],
    d: ["c", "assistant", "d"],
    e: ["a", "user", "e"],
  });
  const [record] = readJson(value).conversations;
  assert.deepEqual(paths(record), ["q > a\n\nb", "q > a\n\nd", "q > a > e"]);
});

test("a long text is cut at a whole character, and counted", () => {
  const family = "👩‍👩‍👧"; // five code points
  const { conversations, left } = readJson([
    user(family.repeat(records.MAX.message / 5 + 1)),
    assistant("é".repeat(records.MAX.text)),
    user(`${"x".repeat(records.MAX.message - 1)}${family}`),
    assistant("x".repeat(records.MAX.text + 1)),
  ]);
  const texts = shown(conversations[0]).map((text) => text.slice(3));
  assert.equal(texts[0], family.repeat(records.MAX.message / 5));
  assert.equal(texts[1].length, records.MAX.text);
  assert.equal(texts[2], "x".repeat(records.MAX.message - 1));
  assert.equal(texts[3].length, records.MAX.text);
  assert.equal(left, "3 texts were cut.");
  const blank = readJson([says("system", "s"), user(`${" ".repeat(records.MAX.message)}x`)]);
  assert.deepEqual(shown(blank.conversations[0]), ["u: x"]);
  assert.equal(blank.left, "Left out: 1 system message, 1 text was cut.");
  const title = readJson({ title: family.repeat(100), messages: TALK }).conversations[0].title;
  assert.equal(title, family.repeat(24));
});

test("a hundred thousand turns in a line come in, and so do as many of one role", () => {
  const line = (role) =>
    Object.fromEntries(
      Array.from({ length: 100_000 }, (_, n) => [`m${n}`, [n ? `m${n - 1}` : null, role(n), "x"]]),
    );
  const talk = readJson(chatGpt(line((n) => (n % 2 ? "assistant" : "user"))));
  assert.equal(shown(talk.conversations[0]).length, 100_000);
  const one = readJson(chatGpt(line(() => "user")));
  assert.equal(shown(one.conversations[0])[0].length, 3 + records.MAX.message);
});

test("branches that repeat what they share too often are refused", () => {
  const nodes = {};
  for (let n = 0; n < 10_000; n++) {
    nodes[`q${n}`] = [n ? `q${n - 1}` : null, "user", "a few words"];
    nodes[`a${n}`] = [`q${n}`, "assistant", "x"];
  }
  assert.throws(() => readJson(chatGpt(nodes)), /unfold to too many characters/);
});

test("names that mean something to JavaScript mean nothing", () => {
  const text = JSON.stringify({
    title: "T",
    mapping: mapping({
      constructor: [null, "user", "a"],
      toString: ["constructor", "assistant", "b"],
    }),
  }).replaceAll("constructor", "__proto__");
  const [record] = readJson(text).conversations;
  assert.deepEqual(shown(record), ["u: a", "a: b"]);
  assert.equal({}.message, undefined);
  const [other] = readJson(
    `[{"__proto__": {"messages": []}, "messages": ${JSON.stringify(TALK)}}]`,
  ).conversations;
  assert.deepEqual(shown(other), ["u: a", "a: b"]);
});

test("read twice is the same conversation, and another one is another", () => {
  const ids = (value) =>
    readJson(value).conversations.map(({ id, nodes }) => [id, ...Object.keys(nodes)]);
  assert.deepEqual(ids(TALK), ids(TALK));
  const [[id, ...nids]] = ids(TALK);
  for (const other of [[user("a"), assistant("c")], { title: "T", messages: TALK }]) {
    const [[otherId, ...others]] = ids(other);
    assert.notEqual(otherId, id);
    assert.ok(others.every((nid) => !nids.includes(nid)));
  }
});

const REFUSED = [
  ["", "it is not JSON"],
  ["{}\n{", "it is not JSON"],
  ["{}", "are understood here"],
  ["[]", "are understood here"],
  ["5", "are understood here"],
  ['{"mapping": []}', "are understood here"],
  ['{"messages": {}}', "are understood here"],
  ['[["a"], [[]]]', "are understood here"],
  ["[".repeat(200_000) + "]".repeat(200_000), "are understood here"],
  ['{"messages": []}', "none of its conversations has a question"],
  ['[{"mapping": {}}, {"what": 1}]', "none of its conversations has a question"],
  [[user(`a${"\u0301".repeat(100_001)}`)], "none of its conversations has a question"],
  [Array.from({ length: 2001 }, () => ({ messages: TALK })), "more than 2,000 conversations"],
  ["1\n".repeat(2001), "more than 2,000 conversations"],
];
for (const [value, reason] of REFUSED) {
  test(`refused, ${reason}: ${JSON.stringify(value).slice(0, 40)}`, () => {
    assert.throws(
      () => readJson(value),
      ({ message }) => message.includes(reason),
    );
  });
}

test("the open path as OpenAI messages reads back", () => {
  const record = conversation(1, "a", "b\t```", "c");
  record.nodes.n00000009 = { parent: record.leaf, role: "assistant", text: "not shown" };
  const value = JSON.parse(openai(record, record.leaf));
  assert.deepEqual(value, { title: "a", messages: [user("a"), assistant("b\t```"), user("c")] });
  assert.deepEqual(shown(readJson(value).conversations[0]), shown(record));
});
