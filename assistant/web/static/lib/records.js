// What a conversation is: a tree of turns of which one path is open. Whatever is read, from the
// browser's store, a file or a link, is checked here field by field. Knows no page and no store.
import { facts } from "./facts.js";
import { checkSources } from "./matches.js";
import { checkSettings } from "./settings.js";
import { cut } from "./text.js";
import { isCount, isObject, isText, isTime } from "./values.js";

/** @import {Sources} from "./matches.js" */
/** @import {Settings} from "./settings.js" */

/** @typedef {"user" | "assistant"} Role */

/**
 * @typedef {object} Turn
 * @property {Role} role
 * @property {string} text
 * @property {number[]} [ids] the tokens of the text
 * @property {boolean} [pinned]
 * @property {boolean} [edited] a reply that a person has written or changed
 * @property {boolean} [gone] it was deleted: its place stays, since others may stand behind it
 * @property {string} [finish] one of FINISHES
 * @property {Record<string, any>} [receipt] shown as text, and checked by the server
 * @property {Sources} [sources]
 */

/** @typedef {Turn & {parent: string | null}} Node */

/**
 * Times in milliseconds. nodes: by their ids; parents come before children.
 * @typedef {object} Conversation
 * @property {number} v
 * @property {string} id
 * @property {string} title
 * @property {number} created
 * @property {number} updated
 * @property {string | null} leaf the newest turn that is shown
 * @property {Record<string, Node>} nodes
 * @property {Settings} [settings]
 */

export { cut };

const VERSION = 1;
/** Characters, as text.js counts them; how many ids; and of a receipt the characters as JSON. */
export const MAX = {
  ...facts.limits,
  title: 120,
  ids: 200_000,
  receipt: 8_192 + facts.limits.template + facts.limits.message,
};
const FINISHES = ["stop", "length", "cancelled", "error"];
const ID = /^[a-z][0-9a-f]{8,30}$/;

/** @param {"c" | "n" | "q" | "r" | "t"} letter of a conversation, a node, a question, a rendering, a template */
export const newId = (letter) => {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return letter + [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};

/** @param {string} id @param {Settings} [settings] @returns {Conversation} */
export const create = (id, settings) => {
  const now = Date.now();
  return {
    v: VERSION,
    id,
    title: "",
    created: now,
    updated: now,
    leaf: null,
    nodes: {},
    settings,
  };
};

/** @param {string} text */
export const titleOf = (text) => {
  const [line] = text.trim().split("\n", 1);
  return cut(line, 60) === line ? line : `${cut(line, 59)}…`;
};

// Checking

/** @type {(reason: string) => never} */
const refuse = (reason) => {
  throw new Error(reason);
};

/** @param {unknown} receipt */
const isShort = (receipt) => {
  try {
    return JSON.stringify(receipt).length <= MAX.receipt;
  } catch {
    return false; // nested deeper than there is room for
  }
};

/**
 * What describes a turn, without its place in the tree. The server checks ids and receipts again.
 * @param {unknown} value @param {Role} role @returns {Turn}
 */
const checkTurn = (value, role) => {
  if (!isObject(value)) refuse("one of its turns is no turn");
  if (value.role !== role) refuse("its turns do not alternate");
  if (value.gone === true) return { role, text: "", gone: true };
  const most = role === "user" ? MAX.message : MAX.text;
  if (!isText(value.text, most) || (role === "user" && !value.text.trim())) {
    refuse(`one of its turns is no text of at most ${most.toLocaleString("en")} characters`);
  }
  /** @type {Turn} */
  const turn = { role, text: value.text };
  if (Array.isArray(value.ids) && value.ids.length <= MAX.ids && value.ids.every(isCount)) {
    turn.ids = value.ids;
  }
  if (value.pinned === true) turn.pinned = true;
  if (value.edited === true && role === "assistant") turn.edited = true;
  if (typeof value.finish === "string" && FINISHES.includes(value.finish)) {
    turn.finish = value.finish;
  }
  if (isObject(value.receipt) && isShort(value.receipt)) turn.receipt = value.receipt;
  if (isObject(value.sources)) turn.sources = checkSources(value.sources);
  return turn;
};

/** @param {Role} role @returns {Role} */
const opposite = (role) => (role === "user" ? "assistant" : "user");

/**
 * A conversation made of what `value` has of one; throws an Error whose message ends the sentence
 * "... cannot be read: ".
 * @param {unknown} value @returns {Conversation}
 */
export const check = (value) => {
  if (!isObject(value)) refuse("it is no conversation");
  if (value.v !== VERSION) refuse(`its version is not ${VERSION}`);
  const { id, leaf } = value;
  if (typeof id !== "string" || !ID.test(id)) refuse("its id is missing or broken");
  if (!isObject(value.nodes)) refuse("it has no turns");
  /** @type {Record<string, Node>} */
  const nodes = {};
  for (const [nid, node] of Object.entries(value.nodes)) {
    if (!ID.test(nid) || !isObject(node)) refuse("one of its turns is broken");
    const { parent } = node;
    if (parent === null) {
      nodes[nid] = { parent, ...checkTurn(node, "user") };
    } else if (typeof parent === "string" && Object.hasOwn(nodes, parent)) {
      nodes[nid] = { parent, ...checkTurn(node, opposite(nodes[parent].role)) };
    } else refuse("a turn is missing before another");
  }
  const known = leaf === null || (typeof leaf === "string" && Object.hasOwn(nodes, leaf));
  return {
    v: VERSION,
    id,
    title: isText(value.title, MAX.title) ? value.title : "",
    created: isTime(value.created) ? value.created : Date.now(),
    // From the future it would win over all that is said later.
    updated: isTime(value.updated) ? Math.min(value.updated, Date.now()) : Date.now(),
    leaf: known ? leaf : (Object.keys(nodes).at(-1) ?? null),
    nodes,
    settings: checkSettings(value.settings),
  };
};

/**
 * Both, since turns are only ever added; what else is said of a conversation is the newer's.
 * @param {Conversation} one @param {Conversation} other @returns {Conversation}
 */
export const merge = (one, other) => {
  const [older, newer] = one.updated <= other.updated ? [one, other] : [other, one];
  return { ...newer, nodes: { ...older.nodes, ...newer.nodes } };
};

// The tree

/**
 * The turns from the first one to `leaf`, as ids, without those that are gone. A turn whose neighbour
 * another tab has deleted is passed over, so that roles alternate.
 * @param {Conversation} record @param {string | null} leaf
 */
export const path = (record, leaf) => {
  const found = [];
  for (let nid = leaf; nid; nid = record.nodes[nid].parent)
    if (!record.nodes[nid].gone) found.push(nid);
  let role = "assistant";
  return found.reverse().filter((nid) => {
    const follows = record.nodes[nid].role !== role;
    role = record.nodes[nid].role;
    return follows;
  });
};

/**
 * parent (or "" at the top) -> its children, oldest first, without those that are gone
 * @param {Conversation} record @returns {Map<string, string[]>}
 */
export const family = (record) => {
  const children = new Map();
  for (const [nid, { parent, gone }] of Object.entries(record.nodes)) {
    if (gone) continue;
    const siblings = children.get(parent ?? "");
    if (siblings) siblings.push(nid);
    else children.set(parent ?? "", [nid]);
  }
  return children;
};

/**
 * From a turn down to the newest reply
 * @param {Conversation} record @param {string} nid
 */
export const tip = (record, nid) => {
  const children = family(record);
  let last = nid;
  for (let below = children.get(last); below; below = children.get(last))
    last = below[below.length - 1];
  return last;
};

/** All that a search looks through. @param {Conversation} record */
export const words = (record) => [
  record.title,
  ...Object.values(record.nodes).map((node) => node.text),
];

/**
 * Puts turns, one behind the other, behind `after`, and opens the last one.
 * @param {Conversation} conversation @param {string | null} after
 * @param {(Turn & {nid: string})[]} added
 */
export const add = (conversation, after, added) => {
  let parent = after;
  for (const { nid, role, ...turn } of added) {
    conversation.nodes[nid] = { parent, ...checkTurn({ role, ...turn }, role) };
    parent = nid;
  }
  conversation.leaf = parent;
  conversation.title ||= titleOf(added[0].text);
};
