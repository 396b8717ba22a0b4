// A button that unfolds a small menu, one at a time. It stands above all else, so no list cuts it off.
import { button, el, need } from "../lib/dom.js";

const GAP = 4; // pixels between the button and its menu

/** @type {{box: HTMLElement, by: HTMLElement} | null} */
let shown = null;

/** Whether a menu was open. @param {boolean} [back] whether its button gets the focus again */
export const fold = (back = false) => {
  if (!shown) return false;
  const { box, by } = shown;
  shown = null;
  box.remove();
  by.setAttribute("aria-expanded", "false");
  if (back) by.focus();
  return true;
};

/** @param {HTMLElement} box @param {HTMLElement} by */
const place = (box, by) => {
  const [room, at] = [box.getBoundingClientRect(), by.getBoundingClientRect()];
  const below = at.bottom + GAP;
  const fits = below + room.height < innerHeight;
  const top = fits ? below : Math.max(GAP, at.top - GAP - room.height);
  const left = Math.max(GAP, Math.min(at.right - room.width, innerWidth - room.width - GAP));
  Object.assign(box.style, { top: `${top}px`, left: `${left}px` });
};

/**
 * The button. items: makes what the menu holds, each time that it opens.
 * @param {string} label @param {() => Node[]} items
 * @param {Record<string, unknown> & {menu?: string}} properties menu: the id of the menu itself
 */
export const menu = (label, items, { menu: id = "", ...properties }) =>
  button(
    label,
    ({ currentTarget: by }) => {
      const again = shown?.by === by;
      fold();
      if (again) return;
      const box = el("div", { className: "unfolded", id, popover: "manual" }, ...items());
      need(".gradio-container .contain").append(box);
      box.showPopover();
      place(box, by);
      by.setAttribute("aria-expanded", "true");
      shown = { box, by };
      box.querySelector("button")?.focus({ preventScroll: true });
    },
    { "aria-haspopup": "true", "aria-expanded": "false", ...properties },
  );

/** What a menu offers; a click folds the menu first. @param {string} label
 * @param {() => unknown} action @param {Record<string, unknown>} [properties] */
export const item = (label, action, properties) =>
  button(
    label,
    () => {
      fold(true);
      action();
    },
    properties,
  );

document.addEventListener("pointerdown", ({ target }) => {
  const at = /** @type {Node} */ (target);
  if (shown && !shown.box.contains(at) && !shown.by.contains(at)) fold();
});
addEventListener("resize", () => fold());
// Before all other listeners: Escape then closes the menu alone.
addEventListener(
  "keydown",
  (event) => {
    if (!shown) return;
    const { key } = event;
    if (key === "Escape") fold(true);
    else if (key === "Tab") return void fold(true);
    else if (key === "ArrowDown" || key === "ArrowUp") {
      const all = [...shown.box.querySelectorAll("button")];
      const at = all.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
      all.at((at + (key === "ArrowDown" ? 1 : -1)) % all.length)?.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  },
  true,
);
