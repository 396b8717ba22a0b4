// Conversations that other programs wrote: ChatGPT's and open-webui's exports, and OpenAI messages.
// All of it is untrusted; what is no text of a person or an assistant is counted and left out.
import * as records from "../lib/records.js";
import { cut } from "../lib/text.js";
import { isObject } from "../lib/values.js";
import { grow, made } from "./trees.js";

/** @import {Conversation, Role} from "../lib/records.js" */
/** @import {Left, Said} from "./trees.js" */

/** @typedef {Record<string, unknown>} Fields of an object that came from outside */

// One message

const TEXTS = new Set(["text", "input_text", "output_text", "audio_transcription"]);
/** The names that others give to what is no text, and ours. @type {[RegExp, string][]} */
const NAMES = [
  [/image/, "image"],
  [/audio|video/, "recording"],
  [/file|document|doc|collection/, "file"],
  [/thought|thinking|reason/, "thought"],
  [/tool|function|call|code/, "call"],
  [/output/, "tool"],
  [/context/, "system"],
];

/** @param {unknown} name @param {string} [other] where the name is not known */
const kindOf = (name, other = "part") =>
  NAMES.find(([pattern]) => typeof name === "string" && pattern.test(name))?.[1] ?? other;

/** @param {unknown} value */
const listOf = (value) => (Array.isArray(value) ? value : []);

/**
 * The text of a message's content: a text, or a list of texts and other parts.
 * @param {unknown} content @param {Left} left
 */
const textOf = (content, left) => {
  if (typeof content === "string") return content;
  const texts = [];
  for (const part of listOf(content)) {
    const { type = part?.content_type, text } = isObject(part)
      ? part
      : { type: "text", text: part };
    if (!TEXTS.has(/** @type {string} */ (type))) left.add(kindOf(type));
    else if (typeof text === "string" && text) texts.push(text);
  }
  return texts.join("\n\n");
};

/**
 * A turn, as far as it is one; line ends and lone surrogates are made what the server makes of them.
 * @param {unknown} role @param {string} text @param {Left} left
 * @returns {{role: Role | "", text: string}}
 */
const turnOf = (role, text, left) => {
  if (role === "user" || role === "assistant")
    return { role, text: text.replace(/\r\n?/g, "\n").toWellFormed() };
  const system = role === "system" || role === "developer";
  const tool = role === "tool" || role === "function";
  if (text.trim()) left.add(system ? "system" : tool ? "tool" : "other");
  return { role: "", text: "" };
};

// One conversation

const TITLE_FROM = 1_000; // characters that a title is made of: to cut a long text takes long

/** Seconds or milliseconds, as milliseconds. @param {...unknown} times the first that is one counts */
const timeOf = (...times) => {
  const found = times.find((time) => typeof time === "number" && time > 0);
  return typeof found === "number" ? Math.round(found < 1e11 ? found * 1000 : found) : undefined;
};

/** @param {unknown} message of ChatGPT @param {Left} left @returns {{role: Role | "", text: string}} */
const ofChatGpt = (message, left) => {
  const { author, content, metadata, recipient = "all" } = isObject(message) ? message : {};
  const hidden = isObject(metadata) && metadata.is_visually_hidden_from_conversation === true;
  if (!isObject(author) || !isObject(content) || hidden) return { role: "", text: "" };
  const { content_type: type, parts } = content;
  let text = "";
  if (author.role === "assistant" && recipient !== "all" && recipient !== null) left.add("call");
  else if (type === "text" || type === "multimodal_text") text = textOf(parts, left);
  else left.add(kindOf(type));
  for (const file of isObject(metadata) ? listOf(metadata.attachments) : [])
    if (kindOf(file?.mime_type) !== "image") left.add("file"); // an image is a part too
  return turnOf(author.role, text, left);
};

const FOLDED = /^<details type="(reasoning|tool_calls|code_interpreter)"/gm;
const FOLDED_END = "</details>";

/** Without the thoughts and tool calls that stand in a reply. @param {string} text @param {Left} left */
const unfolded = (text, left) => {
  const parts = [];
  let at = 0;
  for (const { 1: name, index } of text.matchAll(FOLDED)) {
    if (index < at) continue; // it is in another
    const end = text.indexOf(FOLDED_END, index);
    if (end < 0) break;
    parts.push(text.slice(at, index));
    left.add(kindOf(name));
    at = end + FOLDED_END.length;
  }
  return at ? (parts.join("") + text.slice(at)).trim() : text;
};

/** @param {Fields} message of OpenAI or open-webui @param {Left} left */
const ofMessage = (message, left) => {
  const { role, content, files, tool_calls: calls, reasoning_content: thought } = message;
  const text = textOf(content, left);
  for (const file of listOf(files)) left.add(kindOf(file?.type, "file"));
  for (const _ of listOf(calls)) left.add("call");
  if (typeof thought === "string" && thought) left.add("thought");
  return turnOf(role, role === "assistant" ? unfolded(text, left) : text, left);
};

/**
 * @param {unknown} value @param {(message: Fields) => Said} read
 * @returns {Map<unknown, Said>} by their ids
 */
const eachOf = (value, read) => {
  const said = new Map();
  for (const [id, each] of Object.entries(isObject(value) ? value : {}))
    if (isObject(each)) said.set(id, read(each));
  return said;
};

/** Messages that stand behind each other. @param {unknown[]} messages @param {Left} left */
const inLine = (messages, left) => {
  /** @type {Map<unknown, Said>} */
  const said = new Map();
  for (const message of messages) {
    const parent = said.size ? said.size - 1 : null;
    if (isObject(message)) said.set(said.size, { parent, ...ofMessage(message, left) });
  }
  return said;
};

/** Whether it is a message of OpenAI. @param {unknown} value */
export const isMessage = (value) => isObject(value) && typeof value.role === "string";

/**
 * The turns of one conversation with the id of the open one, or null where its kind is not known.
 * @param {unknown} item @param {Left} left @returns {{said: Map<unknown, Said>, open?: unknown} | null}
 */
const saidIn = (item, left) => {
  if (Array.isArray(item)) return item.some(isMessage) ? { said: inLine(item, left) } : null;
  if (!isObject(item)) return null;
  if (isObject(item.mapping)) {
    const said = eachOf(item.mapping, ({ parent = null, children, message }) => ({
      parent,
      children,
      ...ofChatGpt(message, left),
    }));
    return { said, open: item.current_node };
  }
  const { history, messages } = isObject(item.chat) ? item.chat : item;
  if (isObject(history) && isObject(history.messages)) {
    const said = eachOf(history.messages, (message) => ({
      parent: message.parentId ?? null,
      children: message.childrenIds,
      ...ofMessage(message, left),
    }));
    return { said, open: history.currentId };
  }
  return Array.isArray(messages) ? { said: inLine(messages, left) } : null;
};

/** @param {unknown} item @param {string} question */
const titleOf = (item, question) => {
  const { chat, title = isObject(chat) ? chat.title : "" } = isObject(item) ? item : {};
  const words = (typeof title === "string" ? title : "").slice(0, TITLE_FROM).replace(/\s+/g, " ");
  const known = cut(words.trim(), records.MAX.title);
  return known || records.titleOf(question.trimStart().slice(0, TITLE_FROM));
};

/**
 * One conversation, or null where there is nothing to keep, which is counted.
 * @param {unknown} item @param {Left} left @returns {Conversation | null}
 */
export const conversationOf = (item, left) => {
  const found = saidIn(item, left);
  const { turns, leaf } = grow(found?.said ?? new Map(), found?.open, left);
  if (!turns.length) {
    left.add(found ? "empty" : "unknown");
    return null;
  }
  const fields = isObject(item) ? item : {};
  const created = timeOf(fields.create_time, fields.created_at);
  const updated = timeOf(fields.update_time, fields.updated_at, created);
  try {
    return made({ title: titleOf(item, turns[0].text), created, updated }, turns, leaf);
  } catch {
    left.add("broken");
    return null;
  }
};
