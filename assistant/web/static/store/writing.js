// How conversations get into the browser's database and what other tabs wrote comes from there. A
// write joins what is stored with what is here in one transaction, and other tabs are told.

import { check } from "../lib/records.js";
import { table } from "./database.js";
import {
  asStored,
  changed,
  copies,
  due,
  edits,
  join,
  known,
  lose,
  page,
  records,
  removed,
  unsaved,
} from "./memory.js";

/** @import {Conversation} from "../lib/records.js" */

const database = table("conversations");
const CHANNEL = "tech-assistant";
// In localStorage
export const CHAT = "tech-assistant/chat/"; // where earlier versions of this page kept conversations
export const GROWING = "tech-assistant/growing/"; // what a page had no time to write when it ended

/** @param {Conversation} record */
const count = (record) => Object.keys(record.nodes).length;

/**
 * What becomes of a conversation, here and in the database. next: what is stored from now on, as
 * in database.js; news: whether it is another one here.
 * @param {string} id @param {unknown} value what is stored
 */
const reconcile = (id, value) => {
  if (removed.has(id)) return { next: null, news: false };
  const here = records.get(id);
  const edited = edits.has(id);
  if (value === undefined) {
    const news = known.has(id);
    if (news) lose(id);
    const next = !news && edited && here ? check(asStored(here)) : undefined;
    return { next, news };
  }
  const there = check(value);
  known.add(id);
  const both = here ? (edited ? join(there, here) : join(here, there)) : there;
  records.set(id, both);
  const mine = edited || due.has(id);
  const news = !here || !mine || there.updated > here.updated || count(both) > count(here);
  const next = mine || count(both) > count(there) ? check(asStored(both)) : undefined;
  return { next, news };
};

/**
 * Takes out of localStorage what the database has now.
 * @param {[string, string | undefined][]} held keys and texts
 */
const release = (held) => {
  for (const [key, text] of held) {
    if (text === undefined) continue;
    try {
      if (localStorage.getItem(key) === text) localStorage.removeItem(key);
    } catch {
      // it is joined once more at the next start
    }
    if (copies.get(key) === text) copies.delete(key);
  }
};

/** Brings the database and this page together. @param {string} id */
const write = async (id) => {
  const before = unsaved.has(id);
  let news = false;
  /** @type {{} | undefined} */
  let edit;
  /** @type {[string, string | undefined][]} */
  let held = [];
  try {
    const next = await database.update(id, (value) => {
      edit = edits.get(id);
      held = [CHAT + id, GROWING + id].map((key) => [key, copies.get(key)]);
      const result = reconcile(id, value);
      due.delete(id);
      news = result.news;
      return result.next;
    });
    if (edits.get(id) === edit) edits.delete(id);
    if (next === null) {
      removed.delete(id);
      known.delete(id);
    } else if (next) {
      known.add(id);
      release(held);
    }
    if (known.has(id) && !edits.has(id)) unsaved.delete(id);
    if (next !== undefined) channel.postMessage({ id });
    if (next === null || (news && !known.has(id))) retry(); // there is room now
  } catch (error) {
    const { name } = /** @type {Error} */ (error ?? {});
    if (edits.has(id)) unsaved.set(id, name === "QuotaExceededError");
  }
  if (news || before !== unsaved.has(id)) changed(id);
};

/** @type {Set<string>} */
const waiting = new Set(); // ids that are to be written
/** @type {Map<string, Promise<void>>} */
const busy = new Map(); // ids that are being written

/** @param {string} id */
const run = async (id) => {
  try {
    while (waiting.delete(id)) await write(id);
  } finally {
    busy.delete(id);
  }
};

/**
 * One write of a conversation follows the other; whatever changes meanwhile makes one more.
 * @param {string} id
 */
export const sync = (id) => {
  if (page.blocked) {
    if (edits.has(id)) unsaved.set(id, false);
    return;
  }
  waiting.add(id);
  if (!busy.has(id)) busy.set(id, run(id));
};

export const retry = () => {
  for (const id of [...unsaved.keys(), ...removed]) sync(id);
};

/** Once all that was changed so far is written, or could not be. */
export const saved = () => Promise.all(busy.values());

// What another tab wrote or deleted; what of it is true, the database knows.
const channel = new BroadcastChannel(CHANNEL);
channel.onmessage = ({ data }) => {
  if (typeof data?.id === "string") sync(data.id);
};
