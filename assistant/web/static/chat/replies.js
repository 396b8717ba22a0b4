// Replies: asked for, written into their conversation while they grow, and kept at their end. Each
// conversation has at most one at a time, and goes on while another one is shown.

import * as box from "../composer/box.js";
import { show } from "../composer/ledger.js";
import { checkRanges, select } from "../composer/sent.js";
import { say, soon, warn } from "../composer/status.js";
import * as records from "../lib/records.js";
import * as store from "../store/store.js";
import * as runs from "./runs.js";
import * as turns from "./turns.js";

/** @import {Conversation, Node} from "../lib/records.js" */
/** @import {Settings} from "../lib/settings.js" */

export const BUSY = "A reply is being written; stop it first.";
const SENT = "tech-assistant/sent/"; // and the conversation's id, in the tab's own store

/**
 * What a reply is asked for with. path: the turns that it stands behind, as ids.
 * @typedef {object} Asked
 * @property {string} id the conversation's
 * @property {string[]} path
 * @property {Settings} settings
 * @property {string} [text] of a new message
 * @property {string} [begin] what the reply begins with
 */

/** A message that is not accepted yet. @type {Map<string, {after: string | null, text: string}>} */
const pending = new Map(); // by conversation
/** @param {string} id */
export const pendingOf = (id) => pending.get(id);
/** @type {Map<string, string>} */
const growing = new Map(); // conversation -> the reply that is being written
/** @param {string} id */
export const growingOf = (id) => growing.get(id);

/** @type {(id: string, leaf?: string, counted?: Parameters<typeof show>) => unknown} */
let changed = () => {};
/**
 * leaf: the turn that has come; counted: the ledger of an empty draft behind it, where it is known
 * @param {typeof changed} listener
 */
export const listen = (listener) => {
  changed = listener;
};

/** What was sent and not answered when the page was left is a draft again. @param {string} id */
export const restore = (id) => {
  const kept = store.ofTab(SENT + id);
  if (!kept || runs.isRunning(id)) return;
  store.ofTab(SENT + id, "");
  try {
    const [text, begin] = JSON.parse(kept);
    box.giveBack(id, String(text), String(begin));
  } catch {
    box.giveBack(id, kept); // as an earlier version of the page kept it
  }
};

/** @param {Asked} asked */
export const write = async ({ id, path, settings, text, begin: first = "" }) => {
  if (runs.isRunning(id)) return warn(BUSY, id);
  const record = store.get(id) ?? records.create(id, settings);
  const { turns: sent, sent: exchanges, left } = select(record, path);
  let after = path.at(-1) ?? null;
  /** @type {(Node & {nid: string}) | null} */
  let reply = null;
  let failure = "";
  /** @type {Parameters<typeof show> | undefined} */
  let counted;

  const accept = () => {
    pending.delete(id);
    store.ofTab(SENT + id, "");
  };
  const begin = (/** @type {any} */ { message, text: begun, ids }) => {
    /** @type {(records.Turn & {nid: string})[]} */
    const added = [];
    if (message !== null) {
      if (after && record.nodes[after].role === "user") {
        added.push({ nid: records.newId("n"), role: "assistant", text: "", finish: "cancelled" });
      }
      added.push({ nid: records.newId("n"), role: "user", text: message });
    } else if (after && record.nodes[after].role === "assistant") {
      after = record.nodes[after].parent; // what goes on is another version
    }
    if (after && !store.get(id)) return runs.stop(id); // the conversation was deleted meanwhile
    const nid = records.newId("n");
    /** @type {records.Turn & {nid: string}} */
    const turn = {
      nid,
      role: "assistant",
      text: begun,
      ids: ids ?? undefined,
      finish: "cancelled",
    };
    const parent = added.at(-1)?.nid ?? after;
    reply = { ...turn, parent };
    accept();
    growing.set(id, nid);
    const fresh = records.create(id, settings);
    store.change(id, (here) => records.add(here, after, [...added, turn]), fresh);
    changed(id, nid);
  };
  const grow = (/** @type {any} */ news) => {
    if (!reply) return;
    reply.text += news.text;
    if (news.ids && reply.ids) reply.ids = reply.ids.concat(news.ids);
    else delete reply.ids;
    const { nid, ...node } = reply;
    store.grow(id, nid, node);
    turns.grow(id, nid, reply.text, news);
  };
  const end = (/** @type {any} */ { turn, receipt, ledger, ...news }) => {
    if (!reply) return;
    if (ledger) counted = [ledger, exchanges.concat(Math.floor(path.length / 2)), left];
    reply.text = turn.text;
    reply.finish = turn.finish;
    // What the server does not know of it
    const edited = path.filter((nid) => record.nodes[nid]?.edited).length;
    reply.receipt = {
      ...receipt,
      ...(left.length && { left }),
      ...(edited && { edited }),
      ...(first && { begun: true }),
    };
    if (turn.ids) reply.ids = turn.ids;
    else delete reply.ids;
    turns.grow(id, reply.nid, reply.text, news);
  };

  if (text !== undefined) {
    pending.set(id, { after, text });
    store.ofTab(SENT + id, JSON.stringify([text, first]));
  }
  say("", id);
  soon("Sending", id);
  try {
    const body = { turns: sent, settings, text, begin: first };
    const following = runs.follow(id, "chat", body, (news) => {
      if ("message" in news) begin(news);
      else if (news.text !== undefined) grow(news);
      else if (news.turn) end(news);
      else if (news.error) failure = news.error;
      if (news.status !== undefined) soon(news.status, id);
    });
    changed(id);
    await following;
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    if (name === "AbortError") soon("", id);
    else failure = message;
  }
  accept();
  growing.delete(id);
  const done = /** @type {(Node & {nid: string}) | null} */ (reply);
  if (done) {
    const { nid, ...node } = done;
    store.change(id, ({ nodes }) => {
      if (nodes[nid]) nodes[nid] = { ...nodes[nid], ...node };
    });
    turns.settle(id, nid);
  } else if (text !== undefined) box.giveBack(id, text, first);
  if (failure) warn(failure, id);
  changed(id, done?.nid, counted);
};

/**
 * Writes a reply once more: hear is called with the server's news.
 * @param {string} id @param {string[]} path @param {Record<string, any>} receipt
 * @param {(news: any) => unknown} hear
 */
export const again = async (id, path, receipt, hear) => {
  const record = store.get(id);
  if (!record) return;
  if (runs.isRunning(id)) return warn(BUSY, id);
  const body = { turns: select(record, path, checkRanges(receipt.left)).turns, receipt };
  try {
    const following = runs.follow(id, "again", body, (news) => {
      if (news.compared) hear(news.compared);
      if (news.error) warn(news.error, id);
      else if (news.status !== undefined) say(news.status, id);
    });
    changed(id);
    await following;
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    if (name === "AbortError") say("Stopped", id);
    else warn(message, id);
  }
  changed(id);
};
