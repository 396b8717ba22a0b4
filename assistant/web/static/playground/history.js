// The runs that this browser keeps, newest first: open one again, or delete it with a way back.
import { button, el } from "../lib/dom.js";
import { counted, cut } from "../lib/text.js";
import * as runs from "../store/runs.js";
import { words } from "./sampling.js";

/** @import {Run} from "../store/runs.js" */

const FIRST = 60; // characters of a prompt in the list

/** @type {(run: Run) => unknown} */
let open = () => {};
/** @param {typeof open} by shows a run again */
export const listen = (by) => {
  open = by;
};

const summary = el("summary", { textContent: "Runs" });
const items = el("ol", { className: "runs" });
const said = el("p", { className: "undo", role: "status" });
/** The whole, as a fold. */
export const view = el(
  "details",
  { className: "play-fold", id: "runs", ontoggle: () => draw() },
  summary,
  el("div", { className: "inside" }, said, items),
);

/** The words of a prompt that tell it from others: those behind its folded part. @param {Run} run */
const titleOf = ({ segments, head }) => {
  const text = segments.map(([part]) => part).join("");
  const line = text
    .slice(head)
    .replace(/\s+/g, " ")
    .replace(/^[-=#* ]+/, "")
    .trim();
  const first = cut(line, FIRST);
  return first.length < line.length ? `${first} …` : first;
};
/** @param {number} time */
const when = (time) => {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return today
    ? date.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false })
    : date.toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
};

/** @param {Run} run */
const item = (run) =>
  el(
    "li",
    {},
    button(titleOf(run) || "(blank)", () => reopen(run), { className: "open" }),
    el("span", {
      className: "note",
      textContent: [
        counted(run.versions.length, "version"),
        words(run.settings),
        when(run.time),
      ].join(" · "),
    }),
    button("Delete", () => remove(run), {
      className: "act",
      "aria-label": `Delete ${titleOf(run)}`,
    }),
  );

const draw = () => {
  const all = runs.all();
  summary.textContent = all.length ? `Runs (${all.length})` : "Runs";
  if (!view.open) return;
  items.replaceChildren(...all.map(item));
  if (!all.length && !said.firstChild) items.append(el("li", {}, "Nothing was run here yet."));
};

/** @param {Run} run */
const reopen = (run) => {
  view.open = false;
  open(run);
};
/** @param {Run} run */
const remove = (run) => {
  runs.remove(run.id);
  const back = button(
    "Undo",
    () => {
      runs.keep(run);
      said.replaceChildren();
    },
    { className: "act" },
  );
  said.replaceChildren("Deleted. ", back);
  back.focus();
};

runs.listen(draw);
runs.loaded.then(draw);
