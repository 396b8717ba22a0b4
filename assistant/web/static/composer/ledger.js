// The token ledger of the next message: a bar in real tokens, counted by the server while the draft
// is typed, and the same as words.
import { el } from "../lib/dom.js";
import { ask } from "../lib/server.js";
import * as box from "./box.js";
import { select } from "./sent.js";

/** @import {Conversation} from "../lib/records.js" */
/** @import {Settings} from "../lib/settings.js" */
/** @import {Ranges} from "./sent.js" */

const PAUSE_MS = 300;
const PARTS = ["preamble", "pinned", "history", "draft", "reply"];
/** @type {Record<string, string>} */
const NAMES = {
  preamble: "template",
  pinned: "pinned",
  history: "history",
  draft: "draft",
  reply: "room for the reply",
};
/** @param {number} value */
const count_ = (value) => value.toLocaleString("en");

const bars = Object.fromEntries(
  PARTS.map((part) => [part, el("i", { className: `part ${part}` })]),
);
const bar = el("div", { className: "ledger-bar", "aria-hidden": "true" }, ...Object.values(bars));
const words = el("p", { id: "ledger-words" });
/** Both. */
export const view = el(
  "div",
  { id: "ledger", role: "group", "aria-label": "Tokens of the next message" },
  bar,
  words,
);
/** @type {(dropped: number[]) => unknown} */
let leave = () => {};
/** @param {typeof leave} by shows which exchanges the model will not see, by their indices */
export const listen = (by) => {
  leave = by;
};
let timer = 0;
let asked = new AbortController();

/** Nothing is counted that was going to be. */
export const cancel = () => {
  clearTimeout(timer);
  asked.abort();
};

/**
 * Counts anew, once nothing was typed for a moment.
 * @param {Conversation | undefined} record @param {string[]} path @param {Settings} settings
 */
export const count = (record, path, settings) => {
  cancel();
  asked = new AbortController();
  const { signal } = asked;
  timer = window.setTimeout(async () => {
    const {
      turns: sent,
      sent: exchanges,
      left,
    } = record ? select(record, path) : { turns: [], sent: [], left: [] };
    const text = box.text();
    try {
      const counted = await ask("count", { turns: sent, settings, text }, signal);
      if (counted.error) throw new Error(counted.error);
      show(counted, exchanges, left);
    } catch (error) {
      if (signal.aborted) return;
      view.classList.add("over");
      words.replaceChildren(/** @type {Error} */ (error).message);
      leave([]);
    }
  }, PAUSE_MS);
};

/**
 * Shows what the server counted.
 * @param {any} counted see chat/requests.py
 * @param {number[]} exchanges those that were sent: what is dropped is an index of these
 * @param {Ranges} left those that were not
 */
export const show = ({ dropped, ...counts }, exchanges, left) => {
  const gone = left.flatMap(([from, to]) => [...Array(to - from).keys()].map((n) => n + from));
  leave([...gone, ...dropped.map((/** @type {number} */ index) => exchanges[index])]);
  view.classList.remove("over");
  for (const part of PARTS) bars[part].style.width = `${(100 * counts[part]) / counts.window}%`;
  const used = PARTS.reduce((sum, part) => sum + counts[part], 0);
  const shown = PARTS.filter((part) => counts[part]).map((part) =>
    el("span", { className: `key ${part}` }, `${NAMES[part]} ${count_(counts[part])}`),
  );
  words.replaceChildren(
    ...shown,
    el("span", { className: "key" }, `${count_(used)} of ${count_(counts.window)} tokens`),
  );
};
