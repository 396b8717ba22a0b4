// The rows of the list of conversations: grouped by day, or what a search has found in each.

import * as chat from "../chat/chat.js";
import { reveal } from "../chat/jump.js";
import * as runs from "../chat/runs.js";
import * as files from "../files/files.js";
import { byDay } from "../lib/days.js";
import { composes, el, find } from "../lib/dom.js";
import * as records from "../lib/records.js";
import * as searching from "../lib/search.js";
import { counted } from "../lib/text.js";
import * as store from "../store/store.js";
import { item, menu } from "./menu.js";

/** @import {Conversation} from "../lib/records.js" */
/** @import {Hit, Piece} from "../lib/search.js" */

const FOUND_MAX = 50; // conversations that a search lists

/**
 * What the list is asked to show, and whom it tells.
 * @typedef {object} Wanted
 * @property {string} text that is searched
 * @property {Set<string> | null} chosen ids, while several are selected
 * @property {() => unknown} chose
 * @property {() => unknown} opened
 * @property {(ids: string[]) => unknown} remove
 * @property {() => unknown} draw anew
 */

/** The list. */
export const list = el("div", { id: "chats-list" });

/** @param {Piece[]} pieces */
const marked = (pieces) =>
  pieces.map(({ text, found }) => (found ? el("mark", { textContent: text }) : text));

/** @param {Conversation} record @param {HTMLElement} row @param {() => unknown} draw */
const rename = (record, row, draw) => {
  const field = el("input", { value: record.title, "aria-label": "New title" });
  let done = false;
  const end = (/** @type {boolean} */ keep) => {
    if (done) return;
    done = true;
    const title = records.cut(field.value.trim(), records.MAX.title);
    field.remove();
    if (keep && title) {
      store.change(record.id, (here) => {
        here.title = title;
      });
    }
    draw();
  };
  field.addEventListener("keydown", (event) => {
    if (composes(event)) return;
    if (event.key === "Enter") end(true);
    if (event.key === "Escape") {
      event.stopPropagation();
      end(false);
    }
  });
  field.addEventListener("blur", () => end(true));
  row.replaceChildren(field);
  field.select();
};

/** @param {string} id */
const state = (id) => {
  if (runs.isRunning(id))
    return el(
      "span",
      { className: "chat-state spinner", title: "writing" },
      el("span", { className: "sr", textContent: "writing" }),
    );
  if (store.isUnsaved(id)) return el("span", { className: "chat-state", textContent: "not saved" });
  return null;
};

/** @param {Conversation} record @param {string[]} words @param {Wanted} wanted */
const row = (record, words, { chosen, chose, opened, remove, draw }) => {
  const { id } = record;
  const open = id === store.shownId();
  const title = record.title || "Untitled";
  /** @type {HTMLLIElement} */
  const line = el("li", { className: open ? "open" : "" });
  const name = el("span", { className: "chat-title" }, ...marked(searching.mark(title, words)));
  if (chosen) {
    const box = el("input", {
      type: "checkbox",
      checked: chosen.has(id),
      onchange: () => {
        if (box.checked) chosen.add(id);
        else chosen.delete(id);
        chose();
      },
    });
    line.append(el("label", { className: "chat-link", title }, box, name, state(id)));
    return line;
  }
  line.append(
    el(
      "button",
      {
        type: "button",
        className: "chat-link",
        title,
        onclick: () => {
          chat.open(id);
          opened();
        },
        ...(open && { "aria-current": "true" }),
      },
      name,
      state(id),
    ),
    menu(
      "⋯",
      () => [
        item("Rename", () => rename(record, line, draw)),
        item("Export", () => files.json([record])),
        item("Delete", () => remove([id]), { className: "danger" }),
      ],
      { className: "chat-more", "aria-label": `More for ${title}` },
    ),
  );
  return line;
};

/** A turn that was found. @param {Conversation} record @param {Hit} hit @param {Wanted} wanted */
const hit = (record, { nid, hidden, pieces }, { opened }) =>
  el(
    "li",
    {},
    el(
      "button",
      {
        type: "button",
        className: "chat-hit",
        onclick: () => {
          chat.open(record.id, hidden ? records.tip(record, nid) : record.leaf);
          opened();
          reveal(record.id, nid);
        },
      },
      ...(hidden ? [el("em", { textContent: "in another version: " })] : []),
      ...marked(pieces),
    ),
  );

/** @param {Conversation[]} all @param {string[]} words @param {Wanted} wanted */
const results = (all, words, wanted) => {
  const found = all.flatMap((record) => {
    const there = searching.look(record, words);
    return there ? [{ record, ...there }] : [];
  });
  const rows = found.slice(0, FOUND_MAX).map(({ record, hits, more }) => {
    const line = row(record, words, wanted);
    if (hits.length && !wanted.chosen) {
      line.append(
        el(
          "ul",
          { className: "hits" },
          ...hits.map((one) => hit(record, one, wanted)),
          more
            ? el("li", { className: "none", textContent: `and ${counted(more, "turn")} more` })
            : null,
        ),
      );
    }
    return line;
  });
  const left = found.length - rows.length;
  if (!found.length) rows.push(el("li", { className: "none", textContent: "Nothing found" }));
  if (left)
    rows.push(el("li", { className: "none", textContent: `${left} more: type more of it` }));
  return el("ul", {}, ...rows);
};

/** Draws it anew, unless a title is being typed in it. @param {Wanted} wanted */
export const show = (wanted) => {
  if (find("li > input", list)) return;
  const all = store.all();
  const words = searching.wordsOf(wanted.text);
  if (words.length) list.replaceChildren(results(all, words, wanted));
  else if (!all.length)
    list.replaceChildren(el("p", { className: "none", textContent: "No conversations yet" }));
  else {
    const days = [...byDay(all)].flatMap(([day, records]) => [
      el("h3", { textContent: day }),
      el("ul", {}, ...records.map((record) => row(record, [], wanted))),
    ]);
    list.replaceChildren(...days);
  }
};
