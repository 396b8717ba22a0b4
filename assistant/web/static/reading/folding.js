// What is long is folded: blocks of code, attached files, and a person's own messages. All of the text
// stays in the page, so it is selected, searched, marked and printed as a whole.
import { button } from "../lib/dom.js";
import { counted } from "../lib/text.js";

const CODE_LINES = 30; // more than that are folded to as many as reading.css says
const TEXT_LINES = 20;
const TEXT_CHARS = 1_500;
const TEXT = -1; // the place of a message's text; of its blocks it is 0, 1, ...

/** What was opened or folded by hand: the turn's text, and the places in it. @type {WeakMap<Element, Map<number, boolean>>} */
const chosen = new WeakMap();
/** Those that the reader has seen growing: they do not fold under the eyes. @type {WeakSet<Element>} */
const watched = new WeakSet();

/** Whether the server shows a part of a message as code. @param {string} text */
export const hasFence = (text) => /^ {0,3}(```|~~~)/m.test(text);

/** @param {string | null} text */
const linesOf = (text) => (text ?? "").split("\n").length;

/** @param {Element} said @param {number} place */
const isOpen = (said, place) => chosen.get(said)?.get(place) ?? watched.has(said);

/**
 * @param {Element} folded @param {Element} control @param {boolean} open
 */
const put = (folded, control, open) => {
  folded.classList.toggle("folded", !open);
  control.setAttribute("aria-expanded", String(open));
  const { more, less } = /** @type {HTMLElement} */ (control).dataset;
  control.textContent = (open ? less : more) ?? "";
};

/** @param {string} more @param {string} less */
const control = (more, less) => {
  const made = button(more, () => {}, { className: "act act-fold" });
  Object.assign(made.dataset, { more, less });
  return made;
};

/**
 * Folds a block where it is long.
 * @param {Element} block @param {Element} said of its turn @param {number} place
 */
const foldBlock = (block, said, place) => {
  const code = block.querySelector(".code-text");
  const lines = linesOf(code?.textContent ?? null);
  const file = block.classList.contains("file");
  if ((!file && lines <= CODE_LINES) || block.querySelector(".act-fold")) return;
  const made = file
    ? control("Show", "Hide")
    : control(`Show all ${counted(lines, "line")}`, "Show fewer lines");
  if (file) block.querySelector(".code-head > span")?.after(made);
  else block.append(made);
  put(block, made, isOpen(said, place));
};

/**
 * Folds the blocks of a turn that does not grow any more.
 * @param {Iterable<Element>} blocks all of it, in order @param {Element} said
 */
export const foldBlocks = (blocks, said) => {
  let place = 0;
  for (const block of blocks) foldBlock(block, said, place++);
};

/** A turn grows: its blocks stay as they are, and open. @param {Element} said */
export const watch = (said) => {
  watched.add(said);
};

/** Folds a person's message where it is long. @param {Element} said */
export const foldText = (said) => {
  const long = [...said.querySelectorAll(".typed")].some(
    ({ textContent: text }) => linesOf(text) > TEXT_LINES || (text ?? "").length > TEXT_CHARS,
  );
  const last = said.nextElementSibling;
  if (last?.matches(".act-fold")) last.remove();
  said.classList.remove("folded");
  if (!long) return;
  const made = control("Show all", "Show less");
  said.after(made);
  put(said, made, isOpen(said, TEXT));
};

/** @param {Element} part of a turn */
const saidOf = (part) => part.closest(".turn")?.querySelector(".said");

/** @param {Element} pressed */
const turn = (pressed) => {
  const said = saidOf(pressed);
  if (!said) return;
  const block = pressed.closest(".code");
  const place = block ? [...said.querySelectorAll(".code")].indexOf(block) : TEXT;
  const open = pressed.getAttribute("aria-expanded") !== "true";
  const choices = chosen.get(said) ?? new Map();
  chosen.set(said, choices.set(place, open));
  const folded = block ?? said;
  put(folded, pressed, open);
  if (!open) folded.scrollIntoView({ block: "nearest" });
};

/** Hears the buttons in `area`; what is reached by the keyboard inside of a fold opens it. @param {Element} area */
export const listen = (area) => {
  area.addEventListener("click", ({ target }) => {
    const pressed = /** @type {Element} */ (target).closest(".act-fold");
    if (pressed) turn(pressed);
  });
  area.addEventListener("focusin", ({ target }) => {
    const reached = /** @type {Element} */ (target);
    const inside = reached.parentElement?.closest(".code-text");
    const folded = inside?.closest(".code.folded");
    const control = folded?.querySelector(".act-fold");
    if (control) turn(control);
  });
};
