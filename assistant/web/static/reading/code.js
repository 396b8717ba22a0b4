// What can be done with a block of code: copied, saved as a file, its long lines wrapped.
import { copy, download, need } from "../lib/dom.js";
import * as folding from "./folding.js";
import { nameOf } from "./names.js";

const WRAP = "tech-assistant/wrap";

/** Whether long lines wrap, for all blocks of the page. */
let wraps = false;
try {
  wraps = localStorage.getItem(WRAP) === "1";
} catch {
  // blocked
}

/** @param {string} selector @param {Element[]} roots */
const all = (selector, roots) =>
  roots.flatMap((root) => [
    ...(root.matches(selector) ? [root] : []),
    ...root.querySelectorAll(selector),
  ]);
const WIDE = ".code-text, table, .formula"; // what may scroll sideways, by the keyboard too

/** @param {Element} block */
const showWrap = (block) =>
  need(".act-wrap-code", block).setAttribute("aria-pressed", String(wraps));

/**
 * Makes nodes that the server has rendered ready to be shown: of a turn that grows, or of a whole one.
 * @param {ChildNode[]} nodes @param {Element} said where they come @param {boolean} growing
 */
export const ready = (nodes, said, growing) => {
  const elements = nodes.filter((node) => node instanceof Element);
  for (const wide of all(WIDE, elements)) wide.setAttribute("tabindex", "0");
  const blocks = all(".code", elements);
  for (const block of blocks) showWrap(block);
  if (growing) folding.watch(said);
  else folding.foldBlocks(blocks, said);
  return nodes;
};

/** The turn has grown to its end. @param {Element} said */
export const settle = (said) => folding.foldBlocks(said.querySelectorAll(".code"), said);

/** @param {Element} area @param {HTMLElement} block @param {HTMLElement} pressed */
const act = (area, block, pressed) => {
  const text = need(".code-text", block).textContent ?? "";
  if (pressed.matches(".act-copy-code")) copy(pressed, text);
  if (pressed.matches(".act-save-code")) {
    const { language = "", name } = block.dataset;
    download(nameOf(language, name), "text/plain", `${text}\n`);
  }
  if (pressed.matches(".act-wrap-code")) {
    wraps = !wraps;
    area.classList.toggle("wraps", wraps);
    for (const each of all(".code", [area])) showWrap(each);
    try {
      localStorage.setItem(WRAP, wraps ? "1" : "0");
    } catch {
      // it holds for this page
    }
  }
};

/** Hears the buttons of all blocks in `area`. @param {Element} area */
export const listen = (area) => {
  area.classList.toggle("wraps", wraps);
  area.addEventListener("click", ({ target }) => {
    const pressed = /** @type {Element} */ (target).closest(".code-head button");
    const block = pressed?.closest(".code");
    if (pressed instanceof HTMLElement && block instanceof HTMLElement) act(area, block, pressed);
  });
  folding.listen(area);
};
