// The templates that this browser keeps, with their versions and what changed from one to the next.
import { button, el, find } from "../lib/dom.js";
import { counted } from "../lib/text.js";
import * as store from "../store/templates.js";
import { changes } from "./diff.js";

/** @import {Kept, Version} from "../store/templates.js" */

const LINES_MAX = 200; // that are shown of what changed

/**
 * What the buttons do. put: shows a text in the editor, as of that kept template.
 * @typedef {{put: (toml: string, id: string, what: string) => unknown,
 *   rename: (template: Kept) => unknown,
 *   say: (sentence: string, undo?: () => unknown) => unknown}} Acts
 */
/** @type {Acts} */
let acts;

const list = el("ul", { className: "kept-list" });
const note = el("p", { className: "hint" });
/** The view. */
export const view = el(
  "section",
  { id: "kept-templates", "aria-labelledby": "kept-title" },
  el("h2", { id: "kept-title", textContent: "Kept in this browser" }),
  note,
  list,
);

/** @param {number} time */
const shown = (time) =>
  new Date(time).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });

/** @param {Version} version @param {Version | undefined} before */
const changed = (version, before) => {
  if (!before) return el("p", { className: "hint", textContent: "The first version here." });
  const found = changes(before.toml, version.toml);
  const lines = found.slice(0, LINES_MAX).map(({ sign, text }) => {
    const name = sign === "+" ? "ins" : "del";
    return el(name, { textContent: `${sign} ${text}\n` });
  });
  const count = (/** @type {string} */ sign) => found.filter((each) => each.sign === sign).length;
  const folded = el(
    "details",
    { className: "diff" },
    el("summary", { textContent: `${counted(count("+"), "line")} came, ${count("-")} went` }),
    el("pre", {}, ...lines),
  );
  if (found.length > LINES_MAX)
    folded.append(
      el("p", { className: "hint", textContent: `and ${found.length - LINES_MAX} more` }),
    );
  return folded;
};

/** @param {Kept} template @param {number} at */
const version = (template, at) => {
  const { time, toml } = template.versions[at];
  const last = at === template.versions.length - 1;
  const restore = () =>
    acts.put(
      toml,
      template.id,
      `The version of ${shown(time)} is in the editor; save it to keep it.`,
    );
  return el(
    "li",
    {},
    el("span", { className: "time", textContent: shown(time) }),
    last
      ? el("span", { className: "hint", textContent: "the newest" })
      : button("Restore", restore, { className: "quiet" }),
    changed(template.versions[at], template.versions[at - 1]),
  );
};

/** @param {Kept} template */
const row = (template) => {
  const { id, name, versions } = template;
  const remove = () => {
    store.remove(id);
    acts.say(`“${name}” was deleted.`, () => store.put(template));
    find("#template-undo")?.focus(); // the row that had the focus is gone
  };
  const history = el("ol", { className: "versions", reversed: true });
  const folded = el(
    "details",
    {},
    el("summary", { textContent: counted(versions.length, "version") }),
    history,
  );
  folded.addEventListener("toggle", () => {
    if (!folded.open || history.firstChild) return;
    history.append(...versions.map((_, at) => version(template, at)).reverse());
  });
  return el(
    "li",
    {},
    el(
      "div",
      { className: "kept-head" },
      el("span", { className: "title", textContent: name }),
      el("span", { className: "hint", textContent: shown(store.newest(template).time) }),
      button("Edit", () => acts.put(store.newest(template).toml, id, ""), { className: "quiet" }),
      button("Rename", () => acts.rename(template), { className: "quiet" }),
      button("Delete", remove, { className: "quiet", "aria-label": `Delete ${name}` }),
    ),
    folded,
  );
};

const draw = () => {
  const all = store.kept();
  note.textContent = !store.lasts()
    ? "The browser's store is blocked or full: what is saved lasts until this page is closed. Save it as a file."
    : all.length
      ? ""
      : "Nothing yet: Save keeps a template here, with its earlier versions.";
  note.hidden = !note.textContent;
  list.replaceChildren(...all.map(row));
};

/** @param {Acts} what */
export const start = (what) => {
  acts = what;
  store.listenKept(draw);
  draw();
};
