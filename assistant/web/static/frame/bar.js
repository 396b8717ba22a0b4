// The bar above the transcript: the title, a link to share, files to export. On a phone it is the one
// row on top, with all else behind its last button.

import * as chat from "../chat/chat.js";
import { log } from "../chat/turns.js";
import * as files from "../files/files.js";
import { button, el, find } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { showTab, whenever } from "../lib/gradio.js";
import * as store from "../store/store.js";
import * as keys from "./keys.js";
import { item, menu } from "./menu.js";
import { isVisiting, share } from "./sharing.js";
import * as sidebar from "./sidebar.js";
import * as theme from "./theme.js";

/** @import {Conversation} from "../lib/records.js" */

const TABS = ["Playground", "Attribution", "About"];

/** @param {Conversation} record */
const about = (record) =>
  `${new Date(record.updated).toLocaleString("en")} · ${find("#template-chip")?.textContent}`;
/** The open conversation as one HTML file. */
const html = () => {
  const { record } = chat.current();
  if (record) files.html(record, [...log.children], about(record));
};
/** @param {string} label @param {(record: Conversation, leaf: string | null) => unknown} save */
const kind = (label, save) =>
  item(label, () => {
    const { record, leaf } = chat.current();
    if (record) save(record, leaf);
  });
const kinds = () => [
  kind("JSON", (record) => files.json([record])),
  kind("OpenAI messages", files.openai),
  kind("Markdown", files.markdown),
  kind("HTML, one file", html),
];

/** @param {string} label @param {...Node} inside */
const part = (label, ...inside) => [el("p", { textContent: label }), ...inside];
const common = () => [
  ...part("Theme", theme.choice()),
  item("Keys", keys.show, { title: "?", id: "keys-open" }),
];
/** All that a phone's one row has no room for. */
const all = () => {
  const record = isVisiting() ? undefined : chat.current().record;
  const chip = find("#template-chip");
  return [
    item("New chat", sidebar.fresh),
    ...(record ? [item("Share", () => share(html))] : []),
    ...(record ? part("Export", el("div", { className: "menu-pairs" }, ...kinds())) : []),
    ...part(
      "Go to",
      el("div", { className: "menu-row" }, ...TABS.map((name) => item(name, () => showTab(name)))),
    ),
    ...common(),
    item(chip?.textContent ?? "", () => chip?.click()),
    el("p", { textContent: `Model: ${facts.model}` }),
  ];
};

const title = el("h2", { id: "chat-title" });
const sharing = button("Share", () => share(html), { id: "share" });
const exporting = menu("Export", kinds, { id: "export", menu: "export-menu" });
/** The bar. */
export const bar = el(
  "div",
  { id: "chat-bar" },
  button("☰", () => sidebar.open(), { id: "chats-open", "aria-label": "Chats" }),
  title,
  sharing,
  exporting,
  menu("⋯", all, { id: "more", menu: "more-menu", "aria-label": "More" }),
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
  sharing.hidden = exporting.hidden = !record;
});

// On a wide screen the header has what concerns the whole page.
whenever("#header .bar", (header) => {
  const label = { id: "page-more", menu: "page-menu", "aria-label": "Theme and keys" };
  header.append(menu("⋯", common, label));
});
