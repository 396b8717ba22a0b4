// The versions of a continuation side by side: what each was drawn with, what it says, what it cost.
// One of them is chosen, and stands behind the prompt.
import { button, el } from "../lib/dom.js";
import { list, name as nameMarks } from "../lib/marks.js";
import { endOf } from "../lib/text.js";

/** @import {Sources} from "../lib/matches.js" */
/** @import {Version as Kept} from "../store/runs.js" */
/**
 * status: while it is not over. failed: an error ended it.
 * @typedef {Kept & {over: boolean, status: string, failed?: boolean, sources?: Sources}} Version
 */

const LONG = 99; // characters: a shorter match may be chance

/** A kept version as it is shown. @param {Kept} kept @returns {Version} */
export const fromKept = (kept) => ({ ...kept, over: true, status: "" });

/** A text with what stands in the sources underlined. @param {string} text @param {Sources} [sources] */
export const underlined = (text, sources) => {
  const parts = [];
  let [at, points] = [0, 0];
  for (const [index, { start, end, length }] of (sources?.matches ?? []).entries()) {
    if (start < points || end <= start) continue;
    const from = endOf(text, at, start - points);
    const to = endOf(text, from, end - start);
    const kind = length < LONG ? "short" : "long";
    const mark = el(
      "mark",
      { className: `match ${kind}`, "data-parts": index },
      text.slice(from, to),
    );
    parts.push(text.slice(at, from), mark);
    [at, points] = [to, end];
  }
  return [...parts, text.slice(at)].filter((part) => part !== "");
};

/** Puts a version's text, or what was heard of it. @param {HTMLElement} place @param {Version} version */
export const fill = (place, { text, over, failed, sources }) => {
  place.replaceChildren(...underlined(text, sources));
  if (sources) nameMarks(place, sources);
  if (!over && !text) place.append(el("span", { className: "dots" }, el("i"), el("i"), el("i")));
  place.classList.toggle("failed", !!failed);
};

/** How one stands, in a line. @param {Version} version */
export const noteOf = ({ over, status, note }) => (over ? note : status);
/** The same with its name. @param {Version} version */
export const lineOf = (version) => [version.name, noteOf(version)].filter(Boolean).join(" · ");

/**
 * A card for each. chosen: which one, or -1.
 * @param {Version[]} versions @param {number} chosen @param {(at: number) => unknown} choose
 */
export const cards = (versions, chosen, choose) =>
  versions.map((version, at) => {
    const said = el("pre", { className: "said written" });
    fill(said, version);
    const card = el(
      "article",
      { className: `version${at === chosen ? " chosen" : ""}` },
      button(version.name, () => choose(at), {
        className: "name",
        "aria-pressed": String(at === chosen),
        title: "Show it behind the prompt",
      }),
      said,
      el("p", { className: "note", textContent: noteOf(version) }),
    );
    card.onclick = (event) => {
      const { target } = event;
      const busy = target instanceof Element && target.closest("button, a, mark");
      if (!busy && !getSelection()?.toString()) choose(at);
    };
    list(card, version.sources);
    return card;
  });
