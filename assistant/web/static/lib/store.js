// The visitor's conversations, in the browser's own store under fixed keys: they survive a reload, a
// restart of the server and a new version of it. Each change reads what is stored, adds to it and
// writes it back, and what another tab writes is merged in, so that tabs never undo each other.
// Nothing is ever removed unasked: what no longer fits stays in this page, and that is said.
import { check, merge } from "./records.js";
import { checkSettings } from "./settings.js";

/** @import {Conversation} from "./records.js" */
/** @import {Settings} from "./settings.js" */

const CHAT = "tech-assistant/chat/";
const SETTINGS = "tech-assistant/settings";
export const CHARS_MAX = 4_000_000; // browsers keep about five million characters for a site
export const COUNT_MAX = 300;
const NEAR = 0.9;

/** @type {Map<string, Conversation>} */
const records = new Map(); // all of them, as this page knows them
/** @type {Map<string, number>} */
const sizes = new Map(); // id -> characters in the store
/** @type {Set<string>} */
const unsaved = new Set(); // ids that are newer here than in the store
/** @type {string[]} */
const broken = []; // keys of what could not be read; left as it is
/** @type {((id: string) => unknown)[]} */
const listeners = [];
let blocked = false;
/** @type {string | null} */
let shown = null;

/** The conversation that this tab shows. */
export const shownId = () => shown;
/** @param {string} id */
export const show = (id) => {
  shown = id;
};

/** `listener(id)` is called after each change of a conversation. @param {(id: string) => unknown} listener */
export const listen = (listener) => listeners.push(listener);

/** @param {string} id */
const changed = (id) => {
  for (const listener of listeners) listener(id);
};

/** @param {string} id */
const stored = (id) => {
  const text = localStorage.getItem(CHAT + id);
  return text === null ? null : check(JSON.parse(text));
};

const load = () => {
  try {
    for (let at = 0; at < localStorage.length; at++) {
      const key = localStorage.key(at);
      if (!key?.startsWith(CHAT)) continue;
      const id = key.slice(CHAT.length);
      sizes.set(id, key.length + (localStorage.getItem(key)?.length ?? 0));
      try {
        const record = stored(id);
        if (record?.id !== id) throw new Error("it has another's id");
        records.set(id, record);
      } catch {
        broken.push(key);
      }
    }
  } catch {
    blocked = true;
  }
};

const total = () => [...sizes.values()].reduce((sum, size) => sum + size, 0);

/** @param {Conversation} record */
const write = (record) => {
  const text = JSON.stringify(record);
  const size = CHAT.length + record.id.length + text.length;
  const before = sizes.get(record.id);
  const fits =
    total() - (before ?? 0) + size <= CHARS_MAX && (before !== undefined || sizes.size < COUNT_MAX);
  try {
    if (blocked || !fits) throw new Error("full");
    localStorage.setItem(CHAT + record.id, text);
    sizes.set(record.id, size);
    unsaved.delete(record.id);
  } catch {
    unsaved.add(record.id);
  }
};

/** What is stored and what this page knows, joined. @param {string} id */
const latest = (id) => {
  let there = null;
  try {
    there = stored(id);
  } catch {
    // blocked, or broken: what this page knows counts
  }
  const here = records.get(id);
  return there && here ? merge(there, here) : (there ?? here);
};

/** @param {Conversation} record */
const keep = (record) => {
  records.set(record.id, record);
  write(record);
  changed(record.id);
};

/**
 * `edit(record)` changes the newest state of a conversation in place; `fresh` is where it begins.
 * @param {string} id
 * @param {(record: Conversation) => unknown} edit
 * @param {Conversation | null} [fresh]
 */
export const change = (id, edit, fresh) => {
  const record = latest(id) ?? fresh;
  if (!record) return;
  edit(record);
  record.updated = Date.now();
  keep(record);
};

/**
 * An imported conversation, or one that was deleted; its turns join those that are here.
 * @param {Conversation} record
 */
export const put = (record) => {
  const before = latest(record.id);
  keep(before ? merge(before, record) : record);
};

/** @param {string} id @returns {Conversation | undefined} what was removed */
export const remove = (id) => {
  const record = records.get(id);
  records.delete(id);
  unsaved.delete(id);
  sizes.delete(id);
  try {
    localStorage.removeItem(CHAT + id);
  } catch {
    // nothing was stored
  }
  for (const waiting of [...unsaved]) {
    const kept = records.get(waiting);
    if (kept) write(kept); // there is room now
  }
  changed(id);
  return record;
};

// What another tab wrote
addEventListener("storage", (event) => {
  if (event.storageArea !== localStorage || !event.key?.startsWith(CHAT)) return;
  const id = event.key.slice(CHAT.length);
  const mine = records.get(id);
  if (event.newValue === null) {
    sizes.delete(id);
    if (id === shown)
      unsaved.add(id); // what is being read does not vanish
    else records.delete(id);
    return changed(id);
  }
  sizes.set(id, event.key.length + event.newValue.length);
  try {
    const theirs = check(JSON.parse(event.newValue));
    const both = mine ? merge(theirs, mine) : theirs;
    records.set(id, both);
    // written at the same moment: the other's did not have what this tab added
    if (Object.keys(both.nodes).length > Object.keys(theirs.nodes).length) write(both);
    changed(id);
  } catch {
    // not ours to judge: this page keeps what it knows
  }
});

addEventListener("beforeunload", (event) => {
  if (unsaved.size) event.preventDefault();
});

/** Those that were chosen last. @returns {Settings} */
export const settings = () => {
  try {
    return checkSettings(JSON.parse(localStorage.getItem(SETTINGS) ?? "{}"));
  } catch {
    return {};
  }
};
/** @param {Settings} value */
export const keepSettings = (value) => {
  try {
    localStorage.setItem(SETTINGS, JSON.stringify(value));
  } catch {
    // they hold for this page
  }
};

// What belongs to this tab alone, and outlives a reload
/** @param {string} key @param {string} [value] */
export const ofTab = (key, value) => {
  try {
    if (value !== undefined) sessionStorage.setItem(key, value);
    return sessionStorage.getItem(key);
  } catch {
    return null; // blocked
  }
};

/** How full the store is. part: of what may be in it, 0 to 1. */
export const state = () => {
  const chars = total();
  const part = Math.max(chars / CHARS_MAX, sizes.size / COUNT_MAX);
  return {
    chars,
    part,
    near: part >= NEAR,
    unsaved: unsaved.size,
    blocked,
    broken: broken.length,
  };
};

/** @param {string} id */
export const get = (id) => records.get(id);
/** The newest first. */
export const all = () => [...records.values()].sort((a, b) => b.updated - a.updated);
/** @param {string} id */
export const isUnsaved = (id) => unsaved.has(id);

load();
