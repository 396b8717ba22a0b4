// What the model's licence asks of whoever uses it, before the first use in this browser.
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
    ),
  );
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("close", () => {
    if (stored() === name) dialog.remove();
    else dialog.showModal(); // a browser lets a second Escape through
  });
  need(".gradio-container").append(dialog);
  dialog.showModal();
};

/** Asks once the page is there. */
export const start = () => {
  const { licence, model } = facts;
  if (licence && stored() !== licence.name && !find("#licence")) ask(licence, model);
};
