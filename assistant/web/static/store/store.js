// The visitor's conversations. All of them are in memory, which is the truth for whoever reads; the
// browser's database has them too, and each change is written soon after. Nothing is ever removed
// unasked: what cannot be written stays in this page, which says so.

import { check, merge } from "../lib/records.js";
import { isObject } from "../lib/values.js";
import { table } from "./database.js";
import {
  asStored,
  broken,
  changed,
  copies,
  due,
  edits,
  forget,
  growing,
  join,
  known,
  page,
  records,
  removed,
  unsaved,
} from "./memory.js";
import { CHAT, GROWING, retry, sync } from "./writing.js";

/** @import {Conversation, Node} from "../lib/records.js" */

export { keepSettings, ofTab, settings } from "./kept.js";
export { listen } from "./memory.js";
export { saved } from "./writing.js";

const database = table("conversations");
const PAUSE_MS = 1_000; // between two writes of a reply that grows

/** The conversation that this tab shows. */
export const shownId = () => page.shown;
/** @param {string} id */
export const show = (id) => {
  page.shown = id;
};

// Changing

/** @param {Conversation} record */
const keep = (record) => {
  records.set(record.id, record);
  edits.set(record.id, {});
  sync(record.id);
  changed(record.id);
};

/** It may be in the database again. @param {string} id */
const revive = (id) => {
  removed.delete(id);
  known.delete(id);
};

/**
 * `edit(record)` changes a conversation in place; `fresh` is where it begins.
 * @param {string} id
 * @param {(record: Conversation) => unknown} edit
 * @param {Conversation | null} [fresh]
 */
export const change = (id, edit, fresh) => {
  const here = records.get(id) ?? fresh;
  if (!here) return;
  if (!records.has(id)) revive(id);
  const record = { ...here, nodes: { ...here.nodes } };
  edit(record);
  record.updated = Math.max(Date.now(), here.updated + 1); // the last word, also within one moment
  const replies = growing.get(id);
  for (const [nid, node] of replies ?? []) if (record.nodes[nid] !== node) replies?.delete(nid);
  if (!replies?.size) growing.delete(id);
  keep(record);
};

/**
 * An imported conversation, or one that was deleted; its turns join those that are here.
 * @param {Conversation} record
 */
export const put = (record) => {
  revive(record.id);
  const here = records.get(record.id);
  keep(here ? join(here, record) : record);
};

/** @param {string} id @returns {Conversation | undefined} what was removed */
export const remove = (id) => {
  const record = records.get(id);
  forget(id);
  removed.add(id);
  try {
    for (const key of [CHAT + id, GROWING + id]) localStorage.removeItem(key);
  } catch {
    // nothing was there
  }
  sync(id);
  changed(id);
  return record;
};

/** @type {Set<string>} */
const paused = new Set(); // ids of growing replies that were written a moment ago

/**
 * A reply that is being written, as far as it is: kept here without a word to listeners, and
 * stored now and then. It has ended once a change puts another node in its place.
 * @param {string} id @param {string} nid @param {Node} node
 */
export const grow = (id, nid, node) => {
  const record = records.get(id);
  if (!record) return;
  record.nodes[nid] = node;
  if (record.leaf === node.parent) record.leaf = nid;
  growing.set(id, (growing.get(id) ?? new Map()).set(nid, node));
  if (paused.has(id)) return;
  paused.add(id);
  setTimeout(() => {
    paused.delete(id);
    if (!growing.has(id)) return;
    due.add(id);
    sync(id);
  }, PAUSE_MS);
};

// Leaving

/** Puts what the database does not have into localStorage. @returns {Set<string>} the ids of it */
const rescue = () => {
  const put = new Set();
  for (const id of new Set([...edits.keys(), ...growing.keys()])) {
    const record = records.get(id);
    const whole = edits.has(id);
    if (!record || (unsaved.has(id) && !whole)) continue; // deleted by another tab
    const stored = asStored(record);
    const nodes = Object.entries(stored.nodes).filter(
      ([nid]) => whole || growing.get(id)?.has(nid),
    );
    const text = JSON.stringify({ ...stored, nodes: Object.fromEntries(nodes) });
    try {
      localStorage.setItem(GROWING + id, text);
      copies.set(GROWING + id, text);
      put.add(id);
    } catch {
      // full, or blocked
    }
  }
  return put;
};
addEventListener("pagehide", rescue);
addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") rescue();
  else retry();
});
addEventListener("beforeunload", (event) => {
  const put = rescue();
  if ([...edits.keys(), ...unsaved.keys()].some((id) => !put.has(id))) event.preventDefault();
});

// Reading

/** unsaved, broken: how many; full: whether the browser gave no more room. */
export const state = () => ({
  unsaved: unsaved.size,
  blocked: page.blocked,
  broken: broken.size,
  full: [...unsaved.values()].includes(true),
});

/** @param {string} id */
export const get = (id) => records.get(id);
/** The newest first. */
export const all = () => [...records.values()].sort((a, b) => b.updated - a.updated);
/** @param {string} id */
export const isUnsaved = (id) => unsaved.has(id);

/**
 * Joins what localStorage has under a key; it leaves there once it is written.
 * @param {string} key @param {string} id
 */
const absorb = (key, id) => {
  const text = localStorage.getItem(key) ?? "";
  const value = JSON.parse(text);
  if (!isObject(value?.nodes)) throw new Error("it has no turns");
  const here = records.get(id);
  const found = check({ ...value, nodes: { ...here?.nodes, ...value.nodes } });
  if (found.id !== id) throw new Error("it has another's id");
  records.set(id, here ? merge(here, found) : found);
  copies.set(key, text);
  edits.set(id, {});
  sync(id);
};

const load = async () => {
  /** @param {string} name @param {() => unknown} read */
  const attempt = (name, read) => {
    try {
      read();
    } catch {
      broken.add(name);
    }
  };
  const found = await database.all().catch(() => {
    page.blocked = true;
    return [];
  });
  for (const value of found) {
    attempt(value.id, () => {
      records.set(value.id, check(value));
      known.add(value.id);
    });
  }
  try {
    const keys = Array.from({ length: localStorage.length }, (_, at) => localStorage.key(at) ?? "");
    for (const key of keys.sort()) {
      const start = [CHAT, GROWING].find((each) => key.startsWith(each));
      if (start) attempt(key, () => absorb(key, key.slice(start.length)));
    }
  } catch {
    // localStorage is blocked
  }
};
await load();
