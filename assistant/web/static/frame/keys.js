// The page's keys: one table, from which both what they do and the list of them are made.

import * as chat from "../chat/chat.js";
import { question } from "../chat/jump.js";
import { transcript } from "../chat/turns.js";
import { field } from "../composer/box.js";
import { button, composes, el, find, need } from "../lib/dom.js";
import * as sidebar from "./sidebar.js";

/** What the box and the playground do with keys themselves, then what is done here. */
const LIST = [
  ["Enter", "Send the message"],
  ["Shift + Enter", "A new line"],
  ["Esc", "Stop the reply"],
  ["Ctrl + K", "Search the chats"],
  ["Ctrl + Shift + O", "New chat"],
  ["Alt + ↑, Alt + ↓", "The question before, the question after"],
  ["/", "Saved questions, in an empty box"],
  ["Ctrl + Enter", "Run the prompt, in the playground"],
  ["?, Ctrl + /", "This list"],
];

/** Shows the list of keys. */
export const show = () => {
  if (find("dialog[open]")) return;
  /** @type {HTMLDialogElement} */
  const dialog = el(
    "dialog",
    { id: "keys", "aria-labelledby": "keys-title" },
    el("h2", { id: "keys-title", textContent: "Keys" }),
    el(
      "dl",
      {},
      ...LIST.flatMap(([keys, does]) => [
        el(
          "dt",
          {},
          ...keys
            .split(/( \+ |, )/)
            .map((part) => (/^ \+ $|^, $/.test(part) ? part : el("kbd", { textContent: part }))),
        ),
        el("dd", { textContent: does }),
      ]),
    ),
    el(
      "div",
      { className: "dialog-acts" },
      button("Close", () => dialog.close()),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  need(".gradio-container .contain").append(dialog);
  dialog.showModal();
};

/** Whether keys are text where the focus is. @param {EventTarget | null} target */
const types = (target) =>
  target instanceof HTMLElement &&
  (target.isContentEditable || target.matches("input, textarea, select"));
/** Whether an arrow moves in what is typed there. @param {EventTarget | null} target */
const holdsText = (target) => types(target) && !!(/** @type {HTMLInputElement} */ (target).value);

document.addEventListener("keydown", (event) => {
  if (composes(event) || event.defaultPrevented || find("dialog[open]")) return;
  const { key, altKey, shiftKey, target } = event;
  const ctrl = event.ctrlKey || event.metaKey;
  const shown = transcript.offsetParent !== null; // else another tab of the page is
  if ((ctrl && key === "/") || (key === "?" && !ctrl && !altKey && !types(target))) show();
  else if (!shown) return;
  else if (ctrl && !shiftKey && key.toLowerCase() === "k") sidebar.find();
  else if (ctrl && shiftKey && key.toLowerCase() === "o") sidebar.fresh();
  else if (altKey && key === "ArrowUp" && !holdsText(target)) question(-1);
  else if (altKey && key === "ArrowDown" && !holdsText(target)) question(1);
  else if (key === "Escape") {
    if (!sidebar.close() && (!holdsText(target) || target === field)) chat.stop();
    return;
  } else return;
  event.preventDefault();
});
