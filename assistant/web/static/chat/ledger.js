// The token ledger of the next message: a bar in real tokens, counted by the server while the draft
// is typed, and the same as words.
import { el } from "../lib/dom.js";
import { box, filled, hear, send, whenever } from "../lib/gradio.js";
import * as turns from "./turns.js";

const PAUSE_MS = 300;
const SENT_MAX = 1_000_000; // bytes of path and draft as they are sent; the server takes 2 ** 20
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
const count = (value) => value.toLocaleString("en");

const bars = Object.fromEntries(
  PARTS.map((part) => [part, el("i", { className: `part ${part}` })]),
);
const bar = el("div", { className: "ledger-bar", "aria-hidden": "true" }, ...Object.values(bars));
const words = el("p", { id: "ledger-words" });
const view = el(
  "div",
  { id: "ledger", role: "group", "aria-label": "Tokens of the next message" },
  bar,
  words,
);
let timer = 0;
let number = 0;

/** Counts anew, once nothing was typed for a moment. */
export const ask = () => {
  clearTimeout(timer);
  timer = window.setTimeout(() => {
    number++;
    const sent = JSON.stringify([filled("path"), filled("message")]);
    const size = new TextEncoder().encode(sent).length;
    if (size <= SENT_MAX) send("count", { n: number });
    else
      tell({
        n: number,
        error: `Conversation and draft have ${count(size)} bytes, more than can be sent: ${count(SENT_MAX)}.`,
      });
  }, PAUSE_MS);
};

/** @param {any} data as the server counted, or {n, error} */
const tell = (data) => {
  if (data.n !== number) return;
  view.classList.toggle("over", !!data.error);
  if (data.error) {
    words.replaceChildren(data.error);
  } else {
    for (const part of PARTS) bars[part].style.width = `${(100 * data[part]) / data.window}%`;
    const used = PARTS.reduce((sum, part) => sum + data[part], 0);
    const shown = PARTS.filter((part) => data[part]).map((part) =>
      el("span", { className: `key ${part}` }, `${NAMES[part]} ${count(data[part])}`),
    );
    words.replaceChildren(
      ...shown,
      el("span", { className: "key" }, `${count(used)} of ${count(data.window)} tokens`),
    );
  }
  turns.mark(data.dropped ?? []);
};
hear("counted", tell);
whenever("#message", (message) => {
  message.before(view);
  box("message")?.addEventListener("input", ask);
  box("message")?.setAttribute("aria-describedby", "ledger-words");
});
