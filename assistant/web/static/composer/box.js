// The box in which a message is typed, with the files that go with it and the first words of the
// reply: each conversation has a draft of its own, which outlives a reload of the tab.
import { button, composes, el } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { size } from "../lib/text.js";
import * as store from "../store/store.js";
import * as attach from "./attach.js";
import { pack, unpack } from "./files.js";
import { warn } from "./status.js";

const DRAFT = "tech-assistant/draft/"; // and the conversation's id, in the tab's own store
const BEGIN = "tech-assistant/begin/";
const LINES = 12;
const COARSE = matchMedia("(pointer: coarse)"); // a finger has no Shift: the button sends
const WAITS = "A reply is being written: stop it first, or send this when it is finished.";

let id = ""; // the conversation whose draft is in the box
let running = false;
let barred = ""; // why the message cannot be sent as it is
/** @type {(message: string, begin: string) => unknown} */
let sent = () => {};
/** @type {() => unknown} */
let stopped = () => {};
/** @type {() => unknown} */
let typed = () => {};
/** @type {() => unknown} */
let left = () => {};
/** @param {() => unknown} listener told when another conversation's draft comes into the box */
export const listenLeft = (listener) => {
  left = listener;
};

const field = el("textarea", {
  rows: 1,
  placeholder: "Ask a question, or / for saved ones",
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
const opening = el("textarea", {
  rows: 1,
  id: "begin",
  placeholder: "What the reply begins with",
  "aria-label": "What the reply begins with",
  dir: "auto",
});
const beginning = el(
  "div",
  { id: "beginning", hidden: true },
  opening,
  button("×", () => showBegin(false), { className: "act", "aria-label": "Do not begin the reply" }),
);
/** Where buttons stand at the left. */
export const tools = el("div", { id: "tools" });
/** The box with its buttons. */
export const view = el(
  "div",
  { id: "message" },
  attach.view,
  field,
  beginning,
  el("div", { className: "box-row" }, tools, go, halt),
);

/** @param {HTMLTextAreaElement} area */
const fit = (area) => {
  area.style.height = "auto";
  const { lineHeight, paddingTop } = getComputedStyle(area);
  const most = LINES * Number.parseFloat(lineHeight) + 2 * Number.parseFloat(paddingTop);
  area.style.height = `${Math.min(area.scrollHeight, most)}px`;
  area.style.overflowY = area.scrollHeight > most ? "auto" : "hidden";
};
const show_ = () => {
  go.hidden = running;
  halt.hidden = !running;
  const can = !!message().trim() && !barred && !tooLong(message());
  go.classList.toggle("ready", can);
  go.setAttribute("aria-disabled", String(!can));
};
const submit = () => {
  const whole = message();
  if (!whole.trim()) return;
  if (running) return warn(WAITS);
  const refused = tooLong(whole) || barred;
  if (refused) return warn(refused);
  sent(whole, begin());
};

/** What is typed. */
export const text = () => field.value;
/** The conversation whose draft it is. */
export const of = () => id;
/** It and the files with it. */
export const message = () => pack(field.value, attach.all());
/** What the reply is to begin with, or "". */
export const begin = () => (beginning.hidden ? "" : opening.value);
/** @param {boolean} shown */
export const showBegin = (shown) => {
  putBegin(shown ? opening.value : "", shown);
  if (shown) opening.focus();
  else field.focus();
  typed();
};
/** @param {string} value @param {boolean} [shown] */
const putBegin = (value, shown = !!value) => {
  opening.value = value;
  beginning.hidden = !shown;
  store.ofTab(BEGIN + id, value);
  if (shown) fit(opening);
};
/** Puts a text into the box, which is a draft from then on. @param {string} value */
export const put = (value) => {
  if (field.value !== value) field.value = value;
  keep(id, value);
  fit(field);
  show_();
};
/** What is in it is counted anew. */
export const changed = () => typed();
/** Nothing is left in it. */
export const empty = () => {
  put("");
  leaveOut();
  putBegin("");
};
/** No file goes with the message. */
export const leaveOut = () => attach.put([]);
export const focus = () => field.focus();

/** @param {string} of @param {string} value */
const keep = (of, value) => store.ofTab(DRAFT + of, value);
/** The draft of a conversation. @param {string} of */
export const draft = (of) => (of === id ? field.value : (store.ofTab(DRAFT + of) ?? ""));
/**
 * What was refused comes back, before what was typed since.
 * @param {string} of @param {string} value @param {string} [first] what the reply was to begin with
 */
export const giveBack = (of, value, first = "") => {
  const { typed: was, files } = unpack(value);
  const whole = [was, draft(of)].filter(Boolean).join("\n\n");
  attach.giveBack(of, files);
  if (first && of === id) putBegin(first);
  else if (first) store.ofTab(BEGIN + of, first);
  if (of === id) put(whole);
  else keep(of, whole);
};

/** Shows the draft of that conversation. @param {string} next */
export const open = (next) => {
  if (next === id) return;
  id = next;
  left();
  putBegin(store.ofTab(BEGIN + id) ?? "");
  attach.open(id);
  put(store.ofTab(DRAFT + id) ?? "");
};

/** @param {boolean} now whether the open conversation's reply is being written */
export const show = (now) => {
  running = now;
  show_();
};
/** @param {string} why the message cannot be sent as it is, or "" */
export const bar = (why) => {
  barred = why;
  show_();
};

/** Whether a text may be sent as a message. @param {string} value */
export const tooLong = (value) =>
  size(value) > facts.limits.message
    ? `The message may have at most ${facts.limits.message.toLocaleString("en")} characters; it has ` +
      `${size(value).toLocaleString("en")}.`
    : "";

field.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.key !== "Enter" || composes(event)) return;
  if (event.shiftKey || COARSE.matches) return;
  event.preventDefault();
  submit();
});
field.addEventListener("input", () => {
  keep(id, field.value);
  fit(field);
  show_();
  typed();
});
opening.addEventListener("input", () => {
  putBegin(opening.value, true);
  typed();
});
attach.watch(field);
attach.listen(
  () => {
    show_();
    typed();
  },
  () => field.focus(),
);
new ResizeObserver(() => fit(field)).observe(view);

/**
 * @param {{send: (message: string, begin: string) => unknown, stop: () => unknown,
 *   type: () => unknown}} listeners
 */
export const listen = ({ send, stop, type }) => {
  [sent, stopped, typed] = [send, stop, type];
};
export { field };
