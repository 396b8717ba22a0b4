// The prompt, and behind its last word what the model writes: one text on one sheet. The prompt is a
// textarea, so that undo, paste and input methods are the browser's own. Under the same letters lies a
// copy that nobody sees; it makes the sheet as high as both together and carries the continuation.
import { button, composes, el } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { appended, edited, fromSegments } from "./raw.js";

/** @import {Raw} from "./raw.js" */
/** @import {Origin} from "../store/runs.js" */
/**
 * raw: the whole prompt; head: how many characters of it are folded; origin: where it came from.
 * @typedef {{raw: Raw, head: number, origin: Origin | null}} Prompt
 */

/** @type {Raw} */
let raw = fromSegments([]);
let head = 0;
/** @type {Origin | null} */
let origin = null;
/** @type {{input: () => unknown, accept: () => boolean}} */
let listener = { input: () => {}, accept: () => false };
/** @param {typeof listener} by accept: whether there was something */
export const listen = (by) => {
  listener = by;
};

const field = el("textarea", {
  id: "prompt",
  rows: 1,
  spellcheck: false,
  autocomplete: "off",
  autocapitalize: "off",
  placeholder: facts.continues,
  "aria-label": "Prompt",
  "aria-describedby": "strip",
});
const copyOf = el("span", { className: "copy", "aria-hidden": "true" });
/** Where the continuation stands. */
export const place = el("span", { className: "on", role: "group", "aria-label": "Continuation" });
const sheet = el(
  "div",
  { className: "sheet" },
  field,
  el("div", { className: "under" }, copyOf, place, el("span", { className: "end" }, "\u200b")),
);
const fold = button("", () => unfold(), { className: "act fold-button", hidden: true });
/** The whole. */
export const view = el("div", { className: "editor" }, fold, sheet);

const draw = () => {
  const text = raw.text.slice(head);
  if (field.value !== text) field.value = text;
  copyOf.textContent = text;
};

/** The prompt as it stands there. @returns {Prompt} */
export const get = () => ({ raw, head, origin });
/** Another prompt. @param {Prompt} prompt */
export const put = (prompt) => {
  ({ raw, head, origin } = prompt);
  if (!raw.text.slice(0, head).trim()) head = 0;
  fold.hidden = !head;
  draw();
};
const unfold = () => {
  put({ raw, head: 0, origin });
  field.focus();
  field.setSelectionRange(0, 0);
  sheet.scrollTop = 0;
};
/** What is said of the folded part. @param {string} words */
export const sayFold = (words) => {
  fold.textContent = words;
};

/** What was selected before an edit, in the whole prompt. @type {[number, number] | undefined} */
let selected;
field.addEventListener("beforeinput", () => {
  selected = [head + field.selectionStart, head + field.selectionEnd];
});
const typed = () => {
  raw = edited(raw, raw.text.slice(0, head) + field.value, selected);
  selected = undefined;
  copyOf.textContent = field.value;
};
field.addEventListener("input", () => {
  typed();
  listener.input();
});
field.addEventListener("keydown", (event) => {
  if (composes(event)) return;
  if (event.key !== "Tab" || event.shiftKey || event.ctrlKey || event.altKey || event.metaKey)
    return;
  // Elsewhere in the prompt Tab goes on to the next control, as it does everywhere.
  if (field.selectionStart === field.value.length && listener.accept()) event.preventDefault();
});

/**
 * Puts a text behind the prompt, in a way that the browser can undo.
 * @param {string} text @param {boolean} trusted
 */
export const append = (text, trusted) => {
  const next = appended(raw, text, trusted);
  field.focus({ preventScroll: true });
  field.setSelectionRange(field.value.length, field.value.length);
  if (!document.execCommand("insertText", false, text)) field.setRangeText(text);
  typed();
  raw = next;
  follow();
};
export const focus = () => field.focus({ preventScroll: true });
const FINE = matchMedia("(pointer: fine)");
/** The same where no keyboard would come up: from there Tab accepts, and Escape stops. */
export const rest = () => {
  if (FINE.matches) focus();
};

const NEAR = 80; // pixels from the end, within which the sheet goes along
/** Whether the end of the sheet is in sight. */
export const atEnd = () => sheet.scrollHeight - sheet.scrollTop - sheet.clientHeight < NEAR;
/** Shows the end of the sheet. */
export const follow = () => {
  sheet.scrollTop = sheet.scrollHeight;
};
export const toTop = () => {
  sheet.scrollTop = 0;
};
/** Shows where the continuation begins, unless it is in sight. */
export const showPlace = () => {
  const top = place.offsetTop;
  const { scrollTop, clientHeight } = sheet;
  if (top < scrollTop || top > scrollTop + clientHeight - NEAR)
    sheet.scrollTop = Math.max(0, top - clientHeight / 3);
};
