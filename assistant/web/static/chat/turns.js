// The transcript: one article for each turn of the open path. A message is shown to the letter. A
// reply is shown to the letter too, until the server has rendered it; articles are kept, so stepping
// between branches, or a new turn behind 300 others, touches what has changed alone.
import { el, find, need } from "../lib/dom.js";
import { hear, send, whenever } from "../lib/gradio.js";
import * as records from "../lib/records.js";
import { acts } from "./acts.js";
import * as receipts from "./receipts.js";

/** @import {Acts} from "./acts.js" */
/** @import {Conversation, Node} from "../lib/records.js" */
/** @import {Sources} from "../lib/matches.js" */

/**
 * A turn as it is shown.
 * @typedef {object} Shown
 * @property {HTMLElement} element
 * @property {string} id the conversation's
 * @property {string} nid
 * @property {string} text
 * @property {string} state what its buttons were made for
 * @property {HTMLElement | null} receipt
 * @property {Sources} [sources]
 */

const LEAVES = "The model does not see the messages above: they no longer fit its window";
const RENDER_CHARS = 40_000; // of replies that the server renders at once
const KEPT_MAX = 2_000;

/** Where the turns are shown. */
export const log = el("div", { id: "log" });
// Under the ids of conversation and turn, since a copy of a conversation has the same turns.
/** @type {Map<string, Shown>} */
const articles = new Map();
/** @type {Set<string>} */
const plain = new Set(); // keys of replies that are not rendered yet
/** @type {Map<string, ChildNode[]>} */
const ready = new Map(); // a rendered reply that is not shown yet
const line = el("p", { className: "left-out", textContent: LEAVES });
/** @type {string[] | null} */
let asked = []; // the keys that the server is rendering, null for none; at first it hears nothing
/** @type {Set<string>} */
const looked = new Set(); // keys of turns whose sources were asked for, or that need none
/** @type {string | null} */
let looks = ""; // the key of the one that the server looks up, null for none; at first as above

/**
 * Who tells where a reply's code comes from, and shows it: see attribution/sources.js.
 * @type {{look: (id: string, nid: string, text: string) => unknown,
 *   dress: (article: HTMLElement, turn: {nid: string, text: string}, found?: Sources) => unknown}}
 */
let attribution = { look: () => {}, dress: () => {} };
/** @param {typeof attribution} by */
export const attribute = (by) => {
  attribution = by;
};

/** @param {string} key @param {Node} node */
const article = (key, { role, text }) => {
  const said = el("div", { className: "said" });
  if (role === "user") said.textContent = text;
  else if (!text) said.append(el("p", { className: "none", textContent: "No text came back." }));
  else if (ready.has(key)) {
    said.append(...(ready.get(key) ?? []));
    ready.delete(key);
  } else {
    said.classList.add("plain");
    said.textContent = text;
    plain.add(key);
  }
  const heading = role === "user" ? "You said" : "The assistant said";
  return el(
    "article",
    { className: `turn ${role}` },
    el("h3", { className: "sr", textContent: heading }),
    said,
    el("div", { className: "acts" }),
  );
};

/** @param {string} id @param {string} nid @param {Node} node @returns {Shown} */
const add = (id, nid, node) => {
  const key = id + nid;
  const element = article(key, node);
  const shown = { element, id, nid, text: node.text, state: "", receipt: null };
  articles.set(key, shown);
  return shown;
};

// A reply as the server rendered it: an article of a hidden component, which stays as it is.
/** @param {string} key @param {HTMLElement | undefined} reply */
const put = (key, reply) => {
  if (!reply) return;
  const contents = [...need(".said", reply).cloneNode(true).childNodes];
  const shown = articles.get(key);
  if (!shown) return ready.set(key, contents);
  const said = need(".said", shown.element);
  said.classList.remove("plain");
  said.replaceChildren(...contents);
  plain.delete(key);
  redress(shown);
};
/** @param {string} id @param {string} nid @param {HTMLElement} reply */
export const rendered = (id, nid, reply) => put(id + nid, reply);

// What is known of where a reply comes from
/** @param {Shown} shown */
const redress = (shown) => attribution.dress(shown.element, shown, shown.sources);
/** @param {string} id @param {string} nid @param {Sources | undefined} sources */
export const dress = (id, nid, sources) => {
  const shown = articles.get(id + nid);
  if (!shown) return;
  shown.sources = sources;
  redress(shown);
};

// The turns of the open path, the first one first
/** @type {Shown[]} */
let open = [];

// The newest reply with code that is shown and whose sources nobody has asked for: one at a time.
const lookUp = () => {
  if (looks !== null) return;
  for (const { element, id, nid, text, sources } of [...open].reverse()) {
    const key = id + nid;
    if (looked.has(key) || plain.has(key)) continue;
    looked.add(key);
    if (sources || !find(".said :is(code, .code)", element)) continue;
    looks = key;
    attribution.look(id, nid, text);
    return;
  }
};
/**
 * The server looks no longer for the sources of that turn.
 * @param {string} id @param {string} nid
 * @param {boolean} failed so would the earlier replies: they wait until the page is loaded anew
 */
export const lookedUp = (id, nid, failed) => {
  if (failed) for (const shown of open) looked.add(shown.id + shown.nid);
  if (looks === id + nid) looks = null;
  lookUp();
};

/**
 * Shows the path to `leaf`.
 * @param {Conversation | undefined} record @param {string | null} leaf
 * @param {{running: boolean, editing: string | null, do_: Acts}} how
 */
export const show = (record, leaf, { running, editing, do_ }) => {
  const path = record ? records.path(record, leaf) : [];
  const children = record ? records.family(record) : new Map();
  if (articles.size > KEPT_MAX) for (const kept of [articles, plain]) kept.clear();
  open = path.map((nid, index) => {
    const { id, nodes } = /** @type {Conversation} */ (record);
    const node = nodes[nid];
    const shown = articles.get(id + nid) ?? add(id, nid, node);
    const { element } = shown;
    if (node.sources && !shown.sources) dress(id, nid, node.sources);
    const near = children.get(node.parent ?? "") ?? [];
    const last = index === path.length - 1;
    const state = JSON.stringify([
      near.indexOf(nid),
      near.length,
      last,
      running && last,
      !!node.pinned,
    ]);
    if (shown.state !== state) {
      shown.state = state;
      shown.receipt ??= node.role === "assistant" ? receipts.folded(nid, node, do_) : null;
      const row = need(".acts", element);
      const active = document.activeElement;
      const pressed = row.contains(active) && active?.classList[1];
      row.replaceChildren(...acts(nid, node, { children: near, last, running, do_ }));
      if (shown.receipt) row.append(shown.receipt);
      if (pressed) find(`.${pressed}`, row)?.focus();
    }
    element.classList.toggle("edited", nid === editing);
    return shown;
  });
  const wanted = open.map(({ element }) => element);
  let same = 0;
  while (same < wanted.length && log.children[same] === wanted[same]) same++;
  while (log.children.length > same) log.lastChild?.remove();
  log.append(...wanted.slice(same));
  find("#transcript")?.classList.toggle("filled", path.length > 0);
  render();
  lookUp();
};

/** Greys what the model will not see. @param {number[]} dropped indices of exchanges */
export const mark = (dropped) => {
  const gone = new Set(dropped);
  let first = -1;
  open.forEach(({ element }, index) => {
    const exchange = Math.floor(index / 2);
    element.classList.toggle("gone", gone.has(exchange));
    if (!gone.has(exchange) && gone.has(exchange - 1) && index % 2 === 0) first = index;
  });
  if (first < 0) return line.remove();
  const { element } = open[first];
  if (element.firstChild !== line) element.prepend(line);
};

// The newest replies are rendered first, so many at a time.
const render = () => {
  if (asked || !plain.size) return;
  const shown = new Set(open);
  /** @type {[string, string][]} */
  const texts = [];
  let chars = 0;
  for (const key of [...plain].reverse()) {
    const one = articles.get(key);
    if (!one || !shown.has(one)) continue;
    const { text } = one;
    if (chars && chars + text.length > RENDER_CHARS) break;
    chars += text.length;
    texts.push([key, text]);
  }
  if (!chars) return;
  asked = texts.map(([key]) => key);
  send("render", { n: records.newId("r"), texts: texts.map(([, text]) => text) });
};
hear("rendered", (_, found) => {
  for (const [index, key] of (asked ?? []).entries()) put(key, found[index]);
  asked = null;
  render();
  lookUp();
});

whenever("#live", (live) => live.before(log));
hear("facts", () => {
  asked = null; // whoever rendered before is gone
  render();
  if (looks) looked.delete(looks); // and so is whoever looked
  looks = null;
  lookUp();
});
