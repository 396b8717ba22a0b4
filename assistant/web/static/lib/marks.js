// Parts of a reply underlined where the page shows them. Knows nothing of what the parts are.
import { align, letters, written } from "./align.js";
import { el } from "./dom.js";
import { whenever } from "./gradio.js";
import { layered, stretches } from "./layers.js";

/**
 * start and end: code points of the text
 * @typedef {{start: number, end: number, tip: string, kind: string}} Part
 */

/** @type {WeakMap<EventTarget, Part[]>} */
const partsOf = new WeakMap();
/** @param {Part[]} parts */
const tipOf = (parts) => parts.map((part) => part.tip).join("\n");

/**
 * Underlines `parts` in `root`, which shows the Markdown `text`.
 * @param {HTMLElement} root @param {string} text @param {Part[]} parts
 */
export const underline = (root, text, parts) => {
  /** @type {number[]} */
  const units = []; // where each code point begins, as JavaScript counts
  let unit = 0;
  for (const char of text) {
    units.push(unit);
    unit += char.length;
  }
  /** @type {{shown: string, nodes: Text[], offsets: number[], onLines: number[]}} */
  const { shown, nodes, offsets, onLines } = /** @type {any} */ (letters(root));
  const { source, before } = written(text);
  const same = align(source, shown);

  const covers = parts.map((part) => {
    const begin = before[units[part.start] ?? text.length];
    const end = before[units[part.end] ?? text.length];
    return { part, over: same.slice(begin, end).filter((letter) => letter >= 0) };
  });
  const { sets, setOf } = layered(shown.length, covers);
  // Each in one text node and, since no indentation is underlined, on one line
  const found = stretches(
    setOf,
    (one, other) => nodes[one] === nodes[other] && onLines[one] === onLines[other],
  );
  /** @type {Set<Part>} */
  const reached = new Set(); // parts that Tab leads to
  const marks = found.map(([first, last]) => {
    const set = sets[setOf[first]];
    const mark = el("mark", { className: `match ${set[0].kind}` });
    partsOf.set(mark, set);
    if (set.every((part) => reached.has(part))) return mark;
    for (const part of set) reached.add(part);
    mark.tabIndex = 0;
    const said = nodes[first].data.slice(offsets[first], offsets[last] + 1);
    mark.setAttribute("aria-label", `${said}. ${tipOf(set)}`);
    return mark;
  });
  // From the end on, so that the offsets before stay.
  for (let index = marks.length - 1; index >= 0; index--) {
    const [first, last] = found[index];
    const length = offsets[last] + 1 - offsets[first];
    const piece = offsets[first] ? nodes[first].splitText(offsets[first]) : nodes[first];
    if (length < piece.length) piece.splitText(length);
    piece.replaceWith(marks[index]);
    marks[index].append(piece);
  }
};

/** @param {HTMLElement} root */
export const clear = (root) => {
  for (const mark of root.querySelectorAll("mark.match")) mark.replaceWith(...mark.childNodes);
  root.normalize();
};

// What is said of an underlined part while the pointer is on it, or the keyboard.
const tip = el("div", { id: "match-tip", role: "tooltip", hidden: true });
/** @param {Element} mark @param {Part[]} parts */
const show = (mark, parts) => {
  const box = mark.getClientRects()[0];
  tip.textContent = tipOf(parts);
  tip.hidden = false;
  const left = Math.min(box.left, innerWidth - tip.offsetWidth - 8);
  const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
};
const hide = () => {
  tip.hidden = true;
};
/** @param {Event} event */
const over = ({ target }) => {
  const parts = target && partsOf.get(target);
  if (parts) show(/** @type {Element} */ (target), parts);
  else hide();
};
document.addEventListener("mouseover", over);
document.addEventListener("focusin", over);
document.addEventListener("scroll", hide, true);
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") hide();
});
whenever(".gradio-container", (page) => page.append(tip));
