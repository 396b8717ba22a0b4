// The box in which a message is typed: each conversation has a draft of its own, which outlives a
// reload of the tab.
import { button, composes, el } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { size } from "../lib/text.js";
import * as store from "../store/store.js";

const DRAFT = "tech-assistant/draft/"; // and the conversation's id, in the tab's own store
const LINES = 12;
const COARSE = matchMedia("(pointer: coarse)"); // a finger has no Shift: the button sends

let id = ""; // the conversation whose draft is in the box
/** @type {(text: string) => unknown} */
let sent = () => {};
/** @type {() => unknown} */
let stopped = () => {};
/** @type {() => unknown} */
let typed = () => {};

const field = el("textarea", {
  rows: 1,
  placeholder: "Ask a question",
  "aria-label": "Message",
  "aria-describedby": "ledger-words",
  dir: "auto",
  enterKeyHint: COARSE.matches ? "enter" : "send",
});
const go = button("Send", () => submit(), { className: "submit-button", title: "Send (Enter)" });
const halt = button("Stop", () => stopped(), {
  className: "stop-button",
  title: "Stop (Escape)",
  hidden: true,
});
/** The box with its buttons. */
export const view = el("div", { id: "message" }, field, go, halt);

const fit = () => {
  field.style.height = "auto";
  const { lineHeight, paddingTop } = getComputedStyle(field);
  const most = LINES * Number.parseFloat(lineHeight) + 2 * Number.parseFloat(paddingTop);
  field.style.height = `${Math.min(field.scrollHeight, most)}px`;
  field.style.overflowY = field.scrollHeight > most ? "auto" : "hidden";
};
const submit = () => {
  if (field.value.trim() && !go.hidden) sent(field.value);
};

export const text = () => field.value;
/** Puts a text into the box, which is a draft from then on. @param {string} value */
export const put = (value) => {
  if (field.value !== value) field.value = value;
  keep(id, value);
  fit();
};
export const focus = () => field.focus();

/** @param {string} of @param {string} value */
const keep = (of, value) => store.ofTab(DRAFT + of, value);
/** The draft of a conversation. @param {string} of */
export const draft = (of) => (of === id ? field.value : (store.ofTab(DRAFT + of) ?? ""));
/** What was refused comes back, before what was typed since. @param {string} of @param {string} value */
export const giveBack = (of, value) => {
  const whole = [value, draft(of)].filter(Boolean).join("\n\n");
  if (of === id) put(whole);
  else keep(of, whole);
};

/** Shows the draft of that conversation. @param {string} next */
export const open = (next) => {
  if (next === id) return;
  id = next;
  put(store.ofTab(DRAFT + id) ?? "");
};

/** @param {boolean} running whether the open conversation's reply is being written */
export const show = (running) => {
  go.hidden = running;
  halt.hidden = !running;
};

/** Whether a text may be sent as a message. @param {string} value */
export const tooLong = (value) =>
  size(value) > facts.limits.message
    ? `The message may have at most ${facts.limits.message.toLocaleString("en")} characters; it has ` +
      `${size(value).toLocaleString("en")}.`
    : "";

field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || composes(event) || event.shiftKey || COARSE.matches) return;
  event.preventDefault();
  submit();
});
field.addEventListener("input", () => {
  keep(id, field.value);
  fit();
  typed();
});
new ResizeObserver(fit).observe(view);

/**
 * @param {{send: (text: string) => unknown, stop: () => unknown, type: () => unknown}} listeners
 */
export const listen = ({ send, stop, type }) => {
  [sent, stopped, typed] = [send, stop, type];
};
