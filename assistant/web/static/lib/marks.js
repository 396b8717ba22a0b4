// Parts of a reply that stand in a source: the server has set marks where it shows them; here they
// get their words, and a list below the reply.
import { composes, el, find, need } from "./dom.js";
import { moreOf, sentenceOf, spansOf } from "./matches.js";

/** @import {Match, Sources} from "./matches.js" */

const SHORT = 99; // characters: a shorter match may be chance

/**
 * What the server marks of a reply: start and end in code points.
 * @param {Sources | undefined} sources
 * @returns {{start: number, end: number, kind: "short" | "long" | "known"}[]}
 */
export const spans = (sources) =>
  sources
    ? [
        ...sources.matches.map(({ start, end, length }) => {
          const kind = length < SHORT ? "short" : "long";
          return { start, end, kind: /** @type {"short" | "long"} */ (kind) };
        }),
        ...sources.spans.map(({ start, end }) => {
          return { start, end, kind: /** @type {const} */ ("known") };
        }),
      ]
    : [];

/** What is said of each of them. @param {Sources} sources */
const tips = (sources) => [
  ...sources.matches.map((match) => `${sentenceOf(match)}. ${moreOf(match)}`),
  ...sources.spans.map(() => `Stands in the training data, says ${sources.service}`),
];

/** @type {WeakMap<EventTarget, string>} */
const tipOf = new WeakMap();

/**
 * Gives the marks of a reply their words; of marks of one part the first is reached by the keyboard.
 * @param {HTMLElement} article @param {Sources | undefined} sources
 */
export const name = (article, sources) => {
  if (!sources) return;
  const all = tips(sources);
  /** @type {Set<string>} */
  const reached = new Set();
  for (const mark of article.querySelectorAll("mark.match")) {
    const parts = (mark.getAttribute("data-parts") ?? "").split(" ");
    const said = parts.map((part) => all[Number(part)] ?? "").join("\n");
    tipOf.set(mark, said);
    if (parts.every((part) => reached.has(part))) continue;
    for (const part of parts) reached.add(part);
    mark.setAttribute("tabindex", "0");
    mark.setAttribute("aria-label", `${mark.textContent}. ${said}`);
  }
};

/** @param {Match} match */
const item = (match) =>
  el(
    "li",
    {},
    match.url
      ? el("a", {
          href: match.url,
          target: "_blank",
          rel: "noopener noreferrer",
          textContent: sentenceOf(match),
        })
      : sentenceOf(match),
    el("span", { textContent: ` · ${moreOf(match)}` }),
  );

/**
 * The list below a reply. note: what else is to be said, such as that the server looks.
 * @param {HTMLElement} article @param {Sources | undefined} sources @param {string} [note]
 */
export const list = (article, sources, note) => {
  find(".sources", article)?.remove();
  const notes = [note, sources?.note, sources?.spans.length ? spansOf(sources) : ""];
  const items = [
    ...(sources?.matches ?? []).map(item),
    ...notes.filter(Boolean).map((text) => el("li", { textContent: text })),
  ];
  if (!items.length) return;
  need(".said", article).after(
    el("ul", { className: "sources", "aria-label": "Sources" }, ...items),
  );
};

// What is said of a mark while the pointer is on it, or the keyboard.
const tip = el("div", { id: "match-tip", role: "tooltip", hidden: true });
/** @param {Element} mark @param {string} text */
const show = (mark, text) => {
  const box = mark.getClientRects()[0];
  (mark.closest(".gradio-container") ?? document.body).append(tip);
  tip.textContent = text;
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
  const text = target && tipOf.get(target);
  if (text) show(/** @type {Element} */ (target), text);
  else hide();
};
document.addEventListener("mouseover", over);
document.addEventListener("focusin", over);
document.addEventListener("scroll", hide, true);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !composes(event)) hide();
});
