// The list of conversations: beside the transcript, on narrow screens a drawer. Search, rename,
// delete with a way back, import, export, and what is to be said of the store.

import * as chat from "../chat/chat.js";
import * as runs from "../chat/runs.js";
import * as files from "../files/files.js";
import { button, composes, el, find } from "../lib/dom.js";
import * as records from "../lib/records.js";
import { counted } from "../lib/text.js";
import * as store from "../store/store.js";

/** @import {Conversation} from "../lib/records.js" */

const search = el("input", {
  type: "search",
  id: "chats-search",
  placeholder: "Search",
  "aria-label": "Search conversations",
  oninput: () => draw(),
});
const list = el("ul", { id: "chats-list" });
const notice = el("div", { id: "chats-notice", role: "status" });
const picker = el("input", {
  type: "file",
  accept: ".json,.jsonl,.md,application/json,text/markdown",
  hidden: true,
  id: "chats-file",
});
/** The whole list. */
export const nav = el(
  "nav",
  { id: "chats", "aria-label": "Conversations" },
  el(
    "div",
    { className: "chats-top" },
    button(
      "New chat",
      () => {
        chat.fresh();
        close();
      },
      { id: "chats-new", title: "Ctrl+K" },
    ),
    button("Close", () => close(), { className: "act chats-close" }),
  ),
  search,
  list,
  notice,
  el(
    "div",
    { className: "chats-below" },
    button("Import", () => picker.click(), { className: "act", id: "chats-import" }),
    button("Export all", () => files.json(store.all()), { className: "act", id: "chats-export" }),
    picker,
  ),
);

/** @param {string} sentence @param {...(Node | null)} more */
const words = (sentence, ...more) =>
  notice.replaceChildren(
    el("p", { textContent: sentence }),
    ...more.filter((part) => part !== null),
  );

/** @param {number} time in milliseconds */
const when = (time) => {
  const then = new Date(time);
  const today = new Date().toDateString() === then.toDateString();
  return then.toLocaleString(
    "en",
    today ? { hour: "numeric", minute: "2-digit" } : { day: "numeric", month: "short" },
  );
};

/** @param {Conversation} record @param {HTMLElement} item in the list */
const rename = (record, item) => {
  const field = el("input", {
    value: record.title,
    "aria-label": "New title",
  });
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
  item.replaceChildren(field);
  field.select();
};

/** @param {Conversation} record */
const remove = (record) => {
  const removed = store.remove(record.id);
  chat.gone(record.id);
  words(
    `Deleted: ${record.title}`,
    button(
      "Undo",
      () => {
        if (removed) store.put(removed);
        say();
      },
      { className: "act", id: "chats-undo" },
    ),
  );
};

const draw = () => {
  if (find("input", list)) return; // a title is being typed
  const wanted = search.value.trim().toLowerCase();
  const found = store
    .all()
    .filter(
      (record) =>
        !wanted || records.words(record).some((text) => text.toLowerCase().includes(wanted)),
    );
  list.replaceChildren(
    ...found.map((record) => {
      const open = record.id === store.shownId();
      const title = record.title || "Untitled";
      /** @type {HTMLLIElement} */
      const item = el(
        "li",
        { className: open ? "open" : "" },
        el(
          "button",
          {
            type: "button",
            className: "chat-link",
            title,
            onclick: () => {
              chat.open(record.id);
              close();
            },
            ...(open && { "aria-current": "true" }),
          },
          el("span", { className: "chat-title", textContent: title }),
          el("span", {
            className: "chat-when",
            textContent: runs.isRunning(record.id)
              ? "writing"
              : store.isUnsaved(record.id)
                ? "not saved"
                : when(record.updated),
          }),
        ),
        el(
          "span",
          { className: "chat-acts" },
          button("Rename", () => rename(record, item), {
            className: "act",
            "aria-label": `Rename ${title}`,
          }),
          button("Delete", () => remove(record), {
            className: "act",
            "aria-label": `Delete ${title}`,
          }),
        ),
      );
      return item;
    }),
  );
  if (!found.length) {
    list.append(
      el("li", {
        className: "none",
        textContent: wanted ? "Nothing found" : "No conversations yet",
      }),
    );
  }
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

export const close = () => find("#chat")?.classList.remove("listing");
export const open = () => {
  find("#chat")?.classList.add("listing");
  search.focus();
};

chat.listen(() => draw());
let complained = false;
store.listen(() => {
  draw();
  const { unsaved } = store.state();
  if (unsaved || complained) say(); // also that it is over
  complained = unsaved > 0;
});
say();
