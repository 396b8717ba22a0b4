// Conversations as files: JSON and Markdown that can be read again, and one HTML file that needs no
// server and runs no script. What is read is checked by records.js; a broken file changes nothing.
import { download, el } from "../lib/dom.js";
import * as records from "../lib/records.js";
import { cut } from "../lib/text.js";
import * as store from "../store/store.js";
import * as formats from "./formats.js";
import { DISCLOSURE, day, write } from "./markdown.js";

/** @import {Conversation, Node} from "../lib/records.js" */

const BYTES_MAX = 20_000_000;
const NAME_MAX = 40; // characters
const JSON_TYPE = "application/json";
/** @type {(keyof Node)[]} */
const NAMES = ["text", "role", "parent"]; // in which turns of one id are alike

const STYLE = `
  :root { color-scheme: light dark; --ink: light-dark(#1e2430, #e7eaf0);
    --soft: light-dark(#566072, #a2abba); --line: light-dark(#dfe3ea, #2f3644);
    --paper: light-dark(#f5f6f9, #1b202a); --accent: light-dark(#4147c9, #a9aeff);
    --keyword: light-dark(#7a2fb5, #cda2f5); --string: light-dark(#19692c, #93d3a2);
    --comment: light-dark(#5d6775, #97a1b1); --name: light-dark(#1b57b8, #92bcff);
    --number: light-dark(#a04708, #f0b285); }
  body { max-width: 820px; margin: 0 auto; padding: 24px 16px 48px; color: var(--ink);
    background: light-dark(#ffffff, #12151c); font: 15px/1.6 system-ui, sans-serif; }
  h1 { font-size: 22px; line-height: 1.3; } a { color: var(--accent); }
  .about, .mark, h3.sr { color: var(--soft); font-size: 12.5px; font-weight: 400; }
  h3.sr { margin: 20px 0 4px; } .turn { overflow-wrap: anywhere; }
  .user .said { width: fit-content; max-width: 85%; padding: 8px 14px; border-radius: 14px;
    border: 1px solid var(--line); background: var(--paper); white-space: pre-wrap; }
  .plain { white-space: pre-wrap; } .said > :first-child { margin-top: 0; }
  .code { margin: 12px 0; border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
  .code-head { padding: 3px 14px; border-bottom: 1px solid var(--line); color: var(--soft);
    font-size: 12px; min-height: 18px; }
  pre, code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 13px;
    direction: ltr; unicode-bidi: isolate; }
  pre { margin: 0; padding: 10px 14px; overflow-x: auto; } table { border-collapse: collapse; }
  th, td { padding: 4px 12px; border: 1px solid var(--line); text-align: left; }
  .code-text [class^="k"] { color: var(--keyword); } .code-text :is([class^="s"], .gi) { color: var(--string); }
  .code-text [class^="c"] { color: var(--comment); } .code-text :is([class^="m"], .gd) { color: var(--number); }
  mark.match { background: none; color: inherit; text-decoration: underline 2px var(--accent); }
  .sources { margin: 8px 0; padding-left: 20px; color: var(--soft); font-size: 13px; }
  .code-text :is(.nf, .nc, .nb, .nd, .nt) { color: var(--name); }`;

/**
 * The name of a file: the title's words.
 * @param {string} title @param {string} ending
 */
export const nameOf = (title, ending) => {
  const words = title.toLowerCase().match(/(?:[\p{L}\p{N}]\p{M}*)+/gu) ?? [];
  const short = cut(words.join("-"), NAME_MAX).replace(/-$/, "");
  return `${short || "conversation"}.${ending}`;
};

/** @param {Conversation[]} conversations */
export const json = (conversations) => {
  const title =
    conversations.length === 1 ? conversations[0].title : `conversations-${day(Date.now())}`;
  download(nameOf(title, "json"), JSON_TYPE, formats.json(conversations));
};

/** The path to `leaf` as OpenAI messages. @param {Conversation} record @param {string | null} leaf */
export const openai = (record, leaf) =>
  download(nameOf(record.title, "openai.json"), JSON_TYPE, formats.openai(record, leaf));

/** The path to `leaf`. @param {Conversation} record @param {string | null} leaf */
export const markdown = (record, leaf) =>
  download(nameOf(record.title, "md"), "text/markdown", write(record, leaf));

/**
 * @param {Conversation} record
 * @param {Element[]} articles the turns as the page shows them
 * @param {string} about
 */
export const html = (record, articles, about) => {
  const page = document.implementation.createHTMLDocument(record.title);
  page.documentElement.lang = "en";
  page.head.insertAdjacentHTML(
    "afterbegin",
    `<meta charset="utf-8"><meta name="viewport" content="width=device-width">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
  );
  page.head.append(el("style", { textContent: STYLE }));
  page.body.append(
    el("h1", { textContent: record.title }),
    el("p", { className: "about", textContent: about }),
    el("p", { className: "about", textContent: DISCLOSURE }),
  );
  for (const article of articles) {
    const copy = /** @type {Element} */ (article.cloneNode(true));
    for (const part of copy.querySelectorAll("button, details, .left-out, .acts")) part.remove();
    for (const mark of copy.querySelectorAll("mark"))
      for (const name of mark.getAttributeNames()) if (name !== "class") mark.removeAttribute(name);
    page.body.append(copy);
  }
  const text = `<!doctype html>\n${page.documentElement.outerHTML}`;
  download(nameOf(record.title, "html"), "text/html", text);
};

/**
 * The conversations of a file and a sentence on what is left out of them, or "". An Error says why
 * there are none.
 * @param {File} file
 */
export const read = async (file) => {
  try {
    if (file.size > BYTES_MAX) throw new Error(`it has more than ${BYTES_MAX / 1_000_000} MB`);
    return formats.read(file.name, await file.text());
  } catch (error) {
    const known = error instanceof Error && error.constructor === Error;
    const reason = known ? error.message : "it is damaged";
    throw new Error(`The file ${file.name} cannot be read: ${reason}.`);
  }
};

/**
 * How many conversations came in. Where one with this id is here already, their turns are joined,
 * unless they differ: then it comes in as another.
 * @param {Conversation[]} conversations
 */
export const take = (conversations) => {
  for (const record of conversations) {
    const here = store.get(record.id);
    const same = (/** @type {string} */ nid) => {
      const [one, other] = [here?.nodes[nid], record.nodes[nid]];
      return !one || NAMES.every((name) => one[name] === other[name]);
    };
    if (!Object.keys(record.nodes).every(same)) record.id = records.newId("c");
    store.put(record);
  }
  return conversations.length;
};
