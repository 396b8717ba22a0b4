// What stands beside the transcript, on narrow screens in a drawer: search, the list of conversations,
// several of them to be deleted at once with a way back, import, export, and what is to be said of the
// store.

import * as chat from "../chat/chat.js";
import * as files from "../files/files.js";
import { button, el, find as one } from "../lib/dom.js";
import { counted } from "../lib/text.js";
import * as store from "../store/store.js";
import { list, show } from "./list.js";

const SEARCH_MAX = 200; // characters

/** @type {Set<string> | null} */
let chosen = null; // ids, while several are selected

const search = el("input", {
  type: "search",
  id: "chats-search",
  placeholder: "Search",
  title: "Ctrl+K",
  maxLength: SEARCH_MAX,
  "aria-label": "Search conversations",
  oninput: () => draw(),
});
const notice = el("div", { id: "chats-notice", role: "status" });
const picker = el("input", {
  type: "file",
  accept: ".json,.jsonl,.md,application/json,text/markdown",
  hidden: true,
  id: "chats-file",
});
const foot = el("div", { className: "chats-below" });

/** New chat, and the list goes. */
export const fresh = () => {
  chat.fresh();
  close();
};
/** The whole. */
export const nav = el(
  "nav",
  { id: "chats", "aria-label": "Conversations" },
  el(
    "div",
    { className: "chats-top" },
    button("New chat", fresh, { id: "chats-new", title: "Ctrl+Shift+O" }),
    button("Close", () => close(), { className: "act chats-close" }),
  ),
  search,
  list,
  notice,
  foot,
  picker,
);

/** @param {string} sentence @param {...Node} more */
const words = (sentence, ...more) =>
  notice.replaceChildren(el("p", { textContent: sentence }), ...more);

/** Deletes them, with a way back. @param {string[]} ids */
const remove = (ids) => {
  const removed = ids.map((id) => store.remove(id)).filter((record) => record !== undefined);
  for (const id of ids) chat.gone(id);
  select(false);
  const [first] = removed;
  if (!first) return;
  words(
    removed.length === 1
      ? `Deleted: ${first.title}`
      : `Deleted: ${counted(removed.length, "conversation")}`,
    button(
      "Undo",
      () => {
        for (const record of removed) store.put(record);
        say();
      },
      { className: "act", id: "chats-undo" },
    ),
  );
};

/** @param {boolean} several whether several are to be chosen */
const select = (several) => {
  chosen = several ? new Set() : null;
  draw();
};
const act = (/** @type {string} */ label, /** @type {() => unknown} */ action, more = {}) =>
  button(label, action, { className: "act", ...more });
const resting = [
  act("Select", () => select(true), { id: "chats-select" }),
  act("Import", () => picker.click(), { id: "chats-import" }),
  act("Export all", () => files.json(store.all()), { id: "chats-export" }),
];
const some = act("", () => remove([...(chosen ?? [])]), { id: "chats-delete" });
const selecting = [
  some,
  act("Delete all", () => remove(store.all().map(({ id }) => id)), { id: "chats-delete-all" }),
  act("Done", () => select(false), { id: "chats-done" }),
];

const count = () => {
  some.textContent = `Delete ${chosen?.size ?? 0}`;
  some.disabled = !chosen?.size;
};
const draw = () => {
  show({ text: search.value, chosen, chose: count, opened: () => close(), remove, draw });
  count();
  const wanted = chosen ? selecting : resting;
  if (foot.firstChild !== wanted[0]) foot.replaceChildren(...wanted);
  resting[0].hidden = !store.all().length;
};

// What is to be said of the store
const say = () => {
  const { unsaved, blocked, broken, full } = store.state();
  if (blocked) {
    words(
      "This browser lets the page keep nothing: conversations end with it. Export what you need.",
    );
  } else if (unsaved) {
    const why = full ? "The browser's store is full: " : "Not saved: ";
    const which = `${counted(unsaved, "conversation")} only in this page.`;
    words(`${why}${which} Export what you need${full ? ", or delete others" : ""}.`);
  } else if (broken) {
    words(`${counted(broken, "stored conversation")} cannot be read; left as found.`);
  } else notice.replaceChildren();
};

/** @param {File} file */
const load = async (file) => {
  try {
    const { conversations, left } = await files.read(file);
    const count = files.take(conversations);
    words(`${counted(count, "conversation")} imported. ${left}`);
  } catch (error) {
    words(/** @type {Error} */ (error).message);
  }
};
picker.addEventListener("change", async () => {
  const [file] = picker.files ?? [];
  if (file) await load(file);
  picker.value = "";
});

// The drawer
const page = () => one("#chat");
/** Whether it was open. */
export const close = () => {
  const was = page()?.classList.contains("listing") ?? false;
  page()?.classList.remove("listing");
  return was;
};
const NARROW = matchMedia("(max-width: 860px)"); // as frame.css says
/** Opens the list, where it is a drawer. */
export const open = () => NARROW.matches && page()?.classList.add("listing");
/** To the search. */
export const find = () => {
  open();
  search.focus();
  search.select();
};
document.addEventListener("pointerdown", ({ target }) => {
  const at = /** @type {Element} */ (target);
  if (!nav.contains(at) && !at.closest("#chats-open, .unfolded")) close();
});

chat.listen(() => draw());
let complained = false;
store.listen(() => {
  draw();
  const { unsaved } = store.state();
  if (unsaved || complained) say(); // also that it is over
  complained = unsaved > 0;
});
draw();
say();
