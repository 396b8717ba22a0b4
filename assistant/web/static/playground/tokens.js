// The tokens of a continuation, coloured by how likely each was. Pointing at one, or walking to it with
// the arrow keys, shows what else it could have been; taking that goes on from there.
import { button, el, find } from "../lib/dom.js";

/** @typedef {[id: number, text: string, logprob: number]} Choice */
/** @typedef {[text: string, id: number, logprob: number | null, top: Choice[]]} Token */

/** @type {[least: number, name: string, label: string][]} */
const BANDS = [
  [0.9, "p4", "90 % or more"],
  [0.5, "p3", "50 %"],
  [0.2, "p2", "20 %"],
  [0.05, "p1", "5 %"],
  [0, "p0", "less"],
];
/** @param {number | null} logprob */
const band = (logprob) =>
  logprob === null ? "p5" : (BANDS.find(([least]) => Math.exp(logprob) >= least)?.[1] ?? "p0");
/** @param {string} text */
export const seen = (text) =>
  text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "…";
/** @param {number | null} logprob */
export const percent = (logprob) => {
  if (logprob === null) return "not computed: the window has no room";
  const value = 100 * Math.exp(logprob);
  return value >= 0.1 ? `${value.toFixed(value < 10 ? 1 : 0)} %` : "< 0.1 %";
};

/** What the colours mean. @param {Token[]} tokens */
export const legend = (tokens) => {
  const known = tokens.map(([, , logprob]) => logprob).filter((logprob) => logprob !== null);
  const mean = known.reduce((sum, each) => sum + each, 0) / known.length;
  return el(
    "p",
    { className: "legend" },
    `${tokens.length.toLocaleString("en")} tokens`,
    known.length ? ` · on average ${percent(mean)} likely` : "",
    " · ",
    ...BANDS.flatMap(([, name, label]) => [
      el("span", { className: `tok ${name}`, textContent: label }),
      " ",
    ]),
    "Point at a token, or walk with the arrow keys; Enter opens it.",
  );
};

/** @type {Record<string, number>} */
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/**
 * Shows them in `place`, and what each could have been in `aside`.
 * @param {HTMLElement} place @param {HTMLElement} aside @param {Token[]} tokens
 * @param {(at: number, choice: Choice) => unknown} take
 */
export const show = (place, aside, tokens, take) => {
  /** @type {number | null} */
  let held = null;
  const spans = tokens.map(([text, , logprob], index) =>
    el("span", {
      className: `tok ${band(logprob)}`,
      role: "button",
      tabIndex: index ? -1 : 0,
      "aria-label": `${seen(text)}, ${percent(logprob)}`,
      textContent: text,
    }),
  );
  /** @param {number} at @param {Choice} choice */
  const item = (at, choice) => {
    const [, text, logprob] = choice;
    const bar = el("i");
    bar.style.width = `${100 * Math.exp(logprob)}%`;
    const other = button("", () => take(at, choice), { className: "alt" });
    other.append(el("code", {}, seen(text)), el("span", {}, percent(logprob)), bar);
    return el("li", {}, other);
  };
  /** @param {number} at */
  const tell = (at) => {
    const [text, , logprob, top] = tokens[at];
    for (const [index, span] of spans.entries()) span.classList.toggle("shown", index === at);
    aside.hidden = false;
    aside.replaceChildren(
      el("p", {}, `Token ${at + 1}: `, el("code", {}, seen(text)), ` ${percent(logprob)}`),
      el("p", { className: "hint" }, top.length ? "Take another to go on from it:" : ""),
      el("ol", {}, ...top.map((choice) => item(at, choice))),
    );
  };
  /** @param {number | null} at */
  const hold = (at) => {
    if (held !== null) spans[held].classList.remove("held");
    held = at;
    if (at === null) return;
    spans[at].classList.add("held");
    tell(at);
    aside.scrollIntoView({ block: "nearest" });
  };
  /** @param {Event} event */
  const which = ({ target }) =>
    spans.indexOf(
      /** @type {HTMLSpanElement} */ (/** @type {Element} */ (target).closest?.(".tok")),
    );

  place.replaceChildren(...spans);
  place.onmouseover = (event) => {
    const at = which(event);
    if (at >= 0 && held === null) tell(at);
  };
  place.onclick = (event) => {
    const at = which(event);
    if (at >= 0) hold(held === at ? null : at);
  };
  const focused = (/** @type {Event} */ event) => {
    const at = which(event);
    if (at < 0) return;
    for (const [index, span] of spans.entries()) span.tabIndex = index === at ? 0 : -1;
    if (held === null) tell(at);
  };
  for (const span of spans) span.addEventListener("focus", focused);
  place.onkeydown = (event) => {
    const at = which(event);
    const step = STEPS[event.key];
    if (at >= 0 && step) {
      hold(null);
      spans[Math.min(Math.max(at + step, 0), spans.length - 1)].focus();
    } else if (at >= 0 && (event.key === "Enter" || event.key === " ")) {
      hold(at);
      find("button", aside)?.focus();
    } else return;
    event.preventDefault();
  };
  aside.onkeydown = (event) => {
    if (event.key !== "Escape" || held === null) return;
    event.stopPropagation();
    spans[held].focus();
    hold(null);
  };
};

/** The text alone again. @param {HTMLElement} place @param {HTMLElement} aside */
export const clear = (place, aside) => {
  place.onmouseover = place.onclick = place.onkeydown = aside.onkeydown = null;
  aside.hidden = true;
};
