// The conversations as this page knows them, and what of them the database does not have yet.
import { merge } from "../lib/records.js";

/** @import {Conversation, Node} from "../lib/records.js" */

/** @type {Map<string, Conversation>} */
export const records = new Map(); // all of them, as this page knows them
/** @type {Map<string, Map<string, Node>>} */
export const growing = new Map(); // id -> the replies that are being written, by their ids
/** @type {Set<string>} */
export const due = new Set(); // ids of growing replies that are to be written
/** @type {Map<string, {}>} */
export const edits = new Map(); // id -> the last change that is not written yet
/** @type {Map<string, boolean>} */
export const unsaved = new Map(); // what could not be written: id -> whether for want of room
/** @type {Set<string>} */
export const known = new Set(); // ids that the database had: where one is missing, it was deleted
/** @type {Set<string>} */
export const removed = new Set(); // ids that the database is still to lose
/** @type {Map<string, string>} */
export const copies = new Map(); // keys of localStorage -> what is there, and in memory too
/** @type {Set<string>} */
export const broken = new Set(); // ids and keys of what cannot be read; left as it is
/** @type {((id: string) => unknown)[]} */
export const listeners = [];
/** What holds for the page: whether it may keep nothing; the conversation that is shown. */
export const page = { blocked: false, shown: /** @type {string | null} */ (null) };

/** @param {(id: string) => unknown} listener called after each change of a conversation */
export const listen = (listener) => listeners.push(listener);

/** @param {string} id */
export const changed = (id) => {
  for (const listener of listeners) listener(id);
};

/**
 * Both of them, the second where they are of one time; a reply that grows here is as it is here.
 * @param {Conversation} one @param {Conversation} other
 */
export const join = (one, other) => {
  const both = merge(one, other);
  for (const [nid, node] of growing.get(one.id) ?? []) both.nodes[nid] = node;
  return both;
};

/**
 * As it is stored: a reply whose page dies was stopped.
 * @param {Conversation} record @returns {Conversation}
 */
export const asStored = (record) => {
  const nodes = { ...record.nodes };
  for (const [nid, node] of growing.get(record.id) ?? [])
    nodes[nid] = { ...node, finish: "cancelled" };
  return { ...record, nodes };
};

/** @param {string} id */
export const forget = (id) => {
  for (const each of [records, growing, edits, unsaved, known]) each.delete(id);
};

/** Another tab has deleted it. @param {string} id */
export const lose = (id) => {
  const mine = records.get(id);
  forget(id);
  if (!mine || id !== page.shown) return;
  records.set(id, mine); // what is being read does not vanish
  unsaved.set(id, false);
};
