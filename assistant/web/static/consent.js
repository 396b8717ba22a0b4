// What the model's licence asks of whoever uses it, before the first use in this browser. Who does not
// accept it can read, and is asked again at the next message.

import { button, el, find, need } from "./lib/dom.js";
import { facts } from "./lib/facts.js";

const KEY = "tech-assistant/licence";
/** @type {string | null} */
let given = null; // for this page, where the store is blocked

/** @param {string} [value] */
const stored = (value) => {
  given = value ?? given;
  try {
    if (value !== undefined) localStorage.setItem(KEY, value);
    return localStorage.getItem(KEY) ?? given;
  } catch {
    return given;
  }
};

/** @param {{name: string, url: string, asks: string[]}} licence @param {string} model */
const ask = ({ name, url, asks }, model) => {
  /** @type {HTMLDialogElement} */
  const dialog = el(
    "dialog",
    { id: "licence", "aria-labelledby": "licence-title" },
    el("h2", { id: "licence-title", textContent: "Before you use this model" }),
    el(
      "p",
      {},
      `${model} stands under the licence `,
      el("a", { href: url, target: "_blank", rel: "noopener noreferrer", textContent: name }),
      ". What counts is its own text; in short, it asks of everybody who uses the model:",
    ),
    el("ul", {}, ...asks.map((text) => el("li", { textContent: text }))),
    el("p", {
      textContent:
        "What you read here is written by a machine. It may be wrong, and may repeat code that has a licence of its own.",
    }),
    el("p", { textContent: "Without accepting you can read but not ask." }),
    el(
      "div",
      { className: "dialog-acts" },
      button(
        "I accept these terms",
        () => {
          stored(name);
          dialog.close();
        },
        { className: "act", id: "licence-accept" },
      ),
      button("Not now", () => dialog.close(), { className: "act", id: "licence-decline" }),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  need(".gradio-container .contain").append(dialog);
  dialog.showModal();
};

/** Whether the model may be asked; where that is open, it is asked for. */
export const accepted = () => {
  const { licence, model } = facts;
  if (!licence || stored() === licence.name) return true;
  if (!find("#licence")) ask(licence, model);
  return false;
};

/** Asks once the page is there, and again at the playground's tab, where the model can be asked too. */
export const start = () => {
  accepted();
  document.addEventListener(
    "click",
    (event) => {
      const tab = /** @type {Element} */ (event.target).closest?.('[role="tab"]');
      if (tab?.textContent?.trim() !== "Playground" || accepted()) return;
      event.preventDefault();
      event.stopPropagation();
    },
    true,
  );
};
