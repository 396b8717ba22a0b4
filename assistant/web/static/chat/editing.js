// A turn is edited where it stands: its text becomes a field, and what follows is dimmed. What was typed
// there outlives a reload of the tab.

import { warn } from "../composer/status.js";
import { button, composes, el, find, need } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { size } from "../lib/text.js";
import * as store from "../store/store.js";

const DRAFT = "tech-assistant/edit/"; // and the turn's id, in the tab's own store

/**
 * @typedef {object} Edit
 * @property {string} key under which what is typed is kept
 * @property {{label: string, text: string}[]} fields
 * @property {string} done what its button says
 * @property {boolean} [behind] whether what is written stands behind the turn, and not in its place
 * @property {(texts: string[]) => unknown} save gives false where it cannot be done
 */

/** @param {HTMLTextAreaElement} field */
const fit = (field) => {
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight + 2, innerHeight / 2)}px`;
};

/** Ends an edit; what was typed is forgotten. @param {HTMLElement} article */
export const end = (article) => {
  find(".edit", article)?.remove();
  article.classList.remove("editing", "behind");
};

/** Opens an edit in a turn's article. @param {HTMLElement} article @param {Edit} edit */
export const begin = (article, { key, fields, done, behind = false, save }) => {
  if (find(".edit", article)) return need(".edit textarea", article).focus();
  /** @type {string[]} */
  let typed = [];
  try {
    const kept = JSON.parse(store.ofTab(DRAFT + key) ?? "[]");
    if (Array.isArray(kept)) typed = kept.map(String);
  } catch {
    // it is begun anew
  }
  const areas = fields.map(({ label, text }, index) =>
    el("textarea", {
      value: typed[index] ?? text,
      "aria-label": label,
      placeholder: label,
      dir: "auto",
    }),
  );
  const keep = () => store.ofTab(DRAFT + key, JSON.stringify(areas.map(({ value }) => value)));
  const close = () => {
    store.ofTab(DRAFT + key, "");
    end(article);
    find(".act-edit", article)?.focus();
  };
  const finish = () => {
    const texts = areas.map(({ value }) => value);
    const most = facts.limits.message;
    const long = texts.find((text) => size(text) > most);
    if (texts.some((text) => !text.trim())) return warn("An empty turn cannot be kept.");
    if (long !== undefined) {
      const [had, may] = [size(long), most].map((count) => count.toLocaleString("en"));
      return warn(`A turn may have at most ${may} characters; this one has ${had}.`);
    }
    if (save(texts) === false) return; // it was refused, and said why
    close();
  };
  const form = el(
    "div",
    { className: "edit" },
    ...areas,
    el(
      "div",
      { className: "edit-acts" },
      button(done, finish, { className: "edit-done", title: "Ctrl+Enter" }),
      button("Cancel", close, { className: "act" }),
    ),
  );
  form.addEventListener("input", () => {
    keep();
    areas.forEach(fit);
  });
  form.addEventListener("keydown", (event) => {
    if (composes(event)) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      finish();
    }
  });
  article.classList.add("editing");
  article.classList.toggle("behind", behind);
  need(".acts", article).before(form);
  areas.forEach(fit);
  areas[0].focus();
};
