// What stands at the left below the box: a menu of what can go with a message, and the settings.
import { button, el } from "../lib/dom.js";
import * as attach from "./attach.js";
import * as box from "./box.js";
import * as questions from "./questions.js";
import * as settings from "./settings.js";

/** @param {string} label @param {() => unknown} action @param {string} id */
const item = (label, action, id) =>
  button(
    label,
    () => {
      menu.open = false;
      action();
    },
    { id },
  );
/** @type {HTMLDetailsElement} */
const menu = el(
  "details",
  { className: "menu up", id: "add-menu" },
  el("summary", { title: "Add to the message", "aria-label": "Add to the message" }, "+"),
  el(
    "div",
    {},
    item("Attach files", attach.choose, "attach"),
    item("Begin the reply", () => box.showBegin(true), "begin-reply"),
    item("Saved questions  /", questions.open, "ask-saved"),
  ),
);
document.addEventListener("click", ({ target }) => {
  if (!menu.contains(/** @type {Node} */ (target))) menu.open = false;
});
menu.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu.open) return;
  event.stopPropagation();
  menu.open = false;
});
/** All of them; what belongs to the conversation is put behind them. */
export const { tools } = box;
tools.append(menu, settings.toggle);
