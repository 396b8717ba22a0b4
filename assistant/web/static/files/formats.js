// Conversations as texts of files, written and read: this page's own JSON, OpenAI messages, and what
// ChatGPT and open-webui export. Knows no browser; whatever is read is untrusted.

import * as records from "../lib/records.js";
import { isObject } from "../lib/values.js";
import * as markdown from "./markdown.js";
import { conversationOf, isMessage } from "./others.js";
import { Left } from "./trees.js";

/** @import {Conversation} from "../lib/records.js" */

const FORMAT = "tech-assistant";
const COUNT_MAX = 2_000; // conversations of a file
const UNKNOWN =
  "it holds no conversations that are understood here, which are this page's own JSON and Markdown, " +
  "exports of ChatGPT and of open-webui, and OpenAI messages";
const NONE = "none of its conversations has a question that can be kept";

// Writing

/** @param {unknown} value */
const written = (value) => JSON.stringify(value, null, 1);

/** @param {Conversation[]} conversations */
export const json = (conversations) =>
  written({ format: FORMAT, v: 1, disclosure: markdown.DISCLOSURE, conversations });

/** The path to `leaf` as OpenAI messages. @param {Conversation} record @param {string | null} leaf */
export const openai = (record, leaf) => {
  const messages = records.path(record, leaf).map((nid) => {
    const { role, text } = record.nodes[nid];
    return { role, content: text };
  });
  return written({ title: record.title, messages });
};

// Reading a file

/** JSON, or a list of the lines' JSON. @param {string} text @returns {unknown} */
const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    try {
      const lines = text.split("\n").filter((line) => line.trim());
      if (lines.length > 1) return lines.map((line) => JSON.parse(line));
    } catch {
      // neither
    }
    throw new Error("it is not JSON");
  }
};

/** @param {unknown[]} items */
const bounded = (items) => {
  if (items.length <= COUNT_MAX) return items;
  throw new Error(`it holds more than ${COUNT_MAX.toLocaleString("en")} conversations`);
};

/** @param {unknown} conversations of this page's own JSON */
const own = (conversations) => {
  if (!Array.isArray(conversations) || !conversations.length)
    throw new Error("it holds no conversations of this page");
  return bounded(conversations).map((each) => records.check(each));
};

/**
 * The conversations of a file, and a sentence on what is left out of them, or "". An Error says why
 * there are none.
 * @param {string} name of the file @param {string} text
 * @returns {{conversations: Conversation[], left: string}}
 */
export const read = (name, text) => {
  if (/\.(?:md|markdown)$/i.test(name)) return { conversations: [markdown.read(text)], left: "" };
  const value = parsed(text);
  if (isObject(value) && value.format === FORMAT) {
    return { conversations: own(value.conversations), left: "" };
  }
  const items = Array.isArray(value) && !value.some(isMessage) ? value : [value];
  const left = new Left();
  const conversations = [];
  for (const item of bounded(items)) {
    const record = conversationOf(item, left);
    if (record) conversations.push(record);
  }
  if (!conversations.length)
    throw new Error(left.has("empty") || left.has("broken") ? NONE : UNKNOWN);
  return { conversations, left: `${left}` };
};
