// The bar above the transcript: the title, a link to share, files to export. What a link or the
// page's address brings is put in place here, and nothing of it is sent unasked.

import * as chat from "../chat/chat.js";
import { log } from "../chat/turns.js";
import * as box from "../composer/box.js";
import * as settings from "../composer/settings.js";
import { say } from "../composer/status.js";
import * as files from "../files/files.js";
import { button, composes, copy, el, find } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import * as records from "../lib/records.js";
import * as links from "../lib/share.js";
import * as store from "../store/store.js";
import * as sidebar from "./sidebar.js";

/** @import {Conversation} from "../lib/records.js" */

const title = el("h2", { id: "chat-title" });
/** A shared conversation, and the link to share one. */
export const banner = el("div", { id: "banner" });

const share = async () => {
  const { record, leaf } = chat.current();
  if (!record) return;
  try {
    const link = await links.link(record, leaf, settings.get());
    const field = el("input", {
      readOnly: true,
      value: link,
      id: "share-link",
      "aria-label": "Link to this conversation",
    });
    banner.replaceChildren(
      el("p", {
        textContent:
          "Whoever has this link can read the conversation as it is shown: the link itself holds it, no server.",
      }),
      field,
      button("Copy", (event) => copy(event.currentTarget, link), { className: "act" }),
      button("Close", () => banner.replaceChildren(), { className: "act" }),
    );
    field.select();
  } catch (error) {
    say(/** @type {Error} */ (error).message);
  }
};

/** @param {string} label @param {(record: Conversation, leaf: string | null) => unknown} save */
const item = (label, save) =>
  button(label, () => {
    menu.open = false;
    const { record, leaf } = chat.current();
    if (record) save(record, leaf);
  });
/** @param {Conversation} record */
const about = (record) =>
  `${new Date(record.updated).toLocaleString("en")} · ${find("#template-chip")?.textContent}`;
/** @type {HTMLDetailsElement} */
const menu = el(
  "details",
  { className: "menu", id: "export-menu" },
  el("summary", { textContent: "Export" }),
  el(
    "div",
    {},
    item("JSON", (record) => files.json([record])),
    item("OpenAI messages", files.openai),
    item("Markdown", files.markdown),
    item("HTML, one file", (record) => files.html(record, [...log.children], about(record))),
  ),
);
const sharing = button("Share", share, { id: "share" });
/** The bar. */
export const bar = el(
  "div",
  { id: "chat-bar" },
  button("Chats", () => sidebar.open(), { id: "chats-open", title: "Ctrl+/" }),
  title,
  sharing,
  menu,
);
/** What is said where a conversation cannot be kept. */
export const unsaved = el("p", {
  id: "unsaved",
  role: "status",
  textContent:
    "Not saved: the browser's store is full or blocked. Export this conversation, or delete others.",
});
chat.listen((record) => {
  unsaved.hidden = !record || !store.isUnsaved(record.id);
  title.textContent = record?.title || "New chat";
  sharing.hidden = menu.hidden = !record;
});
document.addEventListener("click", ({ target }) => {
  if (!menu.contains(/** @type {Node} */ (target))) menu.open = false;
});

// A link that somebody shared: said, and opened at a click.
const offer = async () => {
  if (!location.hash.startsWith("#chat=")) return;
  const end = () => {
    banner.replaceChildren();
    history.replaceState(null, "", location.pathname + location.search);
  };
  try {
    const shared = await links.open(location.hash);
    if (!shared) return;
    const count = Object.keys(shared.nodes).length;
    const turns = `${count} ${count === 1 ? "turn" : "turns"}`;
    banner.replaceChildren(
      el(
        "p",
        {},
        "Someone shared a conversation with you: ",
        el("b", { textContent: shared.title || "untitled" }),
        ` (${turns}).`,
      ),
      button(
        "Open",
        () => {
          end();
          store.put(shared);
          chat.open(shared.id);
        },
        { className: "act", id: "open-shared" },
      ),
      button("Dismiss", end, { className: "act" }),
    );
  } catch (error) {
    end();
    say(/** @type {Error} */ (error).message);
  }
};

// /?prompt=NAME&q=TEXT puts template and question in place.
const place = () => {
  const asked = new URLSearchParams(location.search);
  const [name, text] = [asked.get("prompt"), asked.get("q")];
  if (name === null && text === null) return;
  history.replaceState(null, "", location.pathname + location.hash);
  chat.fresh();
  if (text !== null) box.put(records.cut(text, facts.limits.message));
  if (name !== null && settings.knows(name)) settings.use({ ...settings.get(), template: name });
  else if (name !== null)
    say(`There is no prompt template ${records.cut(name, 60)} on this server.`);
  chat.recount();
};

/** What the page's address brings. */
export const start = () => {
  place();
  offer();
  addEventListener("hashchange", offer);
};

document.addEventListener("keydown", (event) => {
  if (!log.offsetParent || composes(event)) return; // another tab of the page is shown
  const ctrl = event.ctrlKey || event.metaKey;
  if (ctrl && event.key === "k") chat.fresh();
  else if (ctrl && event.key === "/") sidebar.open();
  else if (event.key === "Escape" && !find("dialog[open]")) {
    sidebar.close();
    menu.open = false;
    chat.stop();
    return;
  } else return;
  event.preventDefault();
});
