// The token ledger of the next message: how full the window is as a ring, and where its tokens go as a
// bar and as words, which unfold when they are asked for, or by themselves when it gets tight. Real
// tokens, counted by the server while the draft is typed.
import { button, el } from "../lib/dom.js";
import { ask } from "../lib/server.js";
import { counted } from "../lib/text.js";
import * as box from "./box.js";
import { select } from "./sent.js";

/** @import {Conversation} from "../lib/records.js" */
/** @import {Settings} from "../lib/settings.js" */
/** @import {Ranges} from "./sent.js" */

const PAUSE_MS = 300;
const TIGHT = 0.7; // of the window
const PARTS = ["preamble", "pinned", "history", "draft", "reply"];
/** @type {Record<string, string>} */
const NAMES = {
  preamble: "template",
  pinned: "pinned",
  history: "history",
  draft: "draft",
  reply: "room for the reply",
};
/** @param {number} count */
const unseen = (count) =>
  `${counted(count, "character")} of the draft ${count === 1 ? "is" : "are"} left out of what the model reads`;
/** @param {number} value */
const count_ = (value) => value.toLocaleString("en");

const bars = Object.fromEntries(
  PARTS.map((part) => [part, el("i", { className: `part ${part}` })]),
);
const words = el("p", { id: "ledger-words" });
/** What unfolds. */
export const view = el(
  "div",
  { id: "ledger", role: "group", "aria-label": "Tokens of the next message" },
  el("div", { className: "ledger-bar", "aria-hidden": "true" }, ...Object.values(bars)),
  words,
);
const share = el("span", { textContent: "" });
const ring = el("i", { className: "ring", "aria-hidden": "true" });
/** The ring. */
export const toggle = button("", () => open(!view.classList.contains("open")), {
  id: "ledger-button",
  title: "How full the model's window is",
  "aria-expanded": "false",
  "aria-controls": "ledger",
});
toggle.append(ring, share);
/** @param {boolean} shown */
const open = (shown) => {
  view.classList.toggle("open", shown);
  toggle.setAttribute("aria-expanded", String(shown));
};
toggle.addEventListener("mouseenter", () => view.classList.add("near"));
toggle.addEventListener("mouseleave", () => view.classList.remove("near"));
toggle.addEventListener("focus", () => view.classList.add("near"));
toggle.addEventListener("blur", () => view.classList.remove("near"));

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

/** @param {string} why it could not be counted */
const over = (why) => {
  view.classList.add("over");
  words.replaceChildren(why);
  leave([]);
};

/**
 * Counts anew, once nothing was typed for a moment.
 * @param {Conversation | undefined} record @param {string[]} path @param {Settings} settings
 */
export const count = (record, path, settings) => {
  cancel();
  box.bar("");
  const long = box.tooLong(box.message());
  if (long) return over(long);
  asked = new AbortController();
  const { signal } = asked;
  timer = window.setTimeout(async () => {
    const {
      turns: sent,
      sent: exchanges,
      left,
    } = record ? select(record, path) : { turns: [], sent: [], left: [] };
    try {
      const draft = { text: box.message(), begin: box.begin() };
      const told = await ask("count", { turns: sent, settings, ...draft }, signal);
      if (!told.error) return show(told, exchanges, left);
      box.bar(told.error);
      over(told.error);
    } catch (error) {
      if (!signal.aborted) over(/** @type {Error} */ (error).message);
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
  const leaves = [...gone, ...dropped.map((/** @type {number} */ index) => exchanges[index])];
  leave(leaves);
  box.bar("");
  const used = PARTS.reduce((sum, part) => sum + counts[part], 0);
  const written = (used - counts.reply) / counts.window;
  view.classList.remove("over");
  const tight = used / counts.window >= TIGHT || leaves.length > 0;
  view.classList.toggle("tight", tight || counts.unseen > 0);
  share.textContent = `${Math.round(100 * written)} %`;
  ring.style.setProperty("--share", `${100 * written}%`);
  for (const part of PARTS) bars[part].style.width = `${(100 * counts[part]) / counts.window}%`;
  const shown = PARTS.filter((part) => counts[part]).map((part) =>
    el("span", { className: `key ${part}` }, `${NAMES[part]} ${count_(counts[part])}`),
  );
  words.replaceChildren(
    ...shown,
    el("span", { className: "key" }, `${count_(used)} of ${count_(counts.window)} tokens`),
    ...(counts.unseen
      ? [el("span", { className: "key unseen", textContent: unseen(counts.unseen) })]
      : []),
  );
};
