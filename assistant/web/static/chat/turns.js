// The transcript: one article for each turn of the open path. A message is shown to the letter, its
// fences as code. A reply grows by the blocks that the server has rendered; one that was loaded is
// shown to the letter until then. Articles are kept, so stepping between branches, or a new turn
// behind 300 others, touches what has changed alone.
import { button, el, find, need, nodesOf, patch } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import * as marks from "../lib/marks.js";
import * as records from "../lib/records.js";
import { ask } from "../lib/server.js";
import * as code from "../reading/code.js";
import { foldText, hasFence } from "../reading/folding.js";
import { acts } from "./acts.js";
import * as receipts from "./receipts.js";

/** @import {Acts} from "./acts.js" */
/** @import {Conversation, Node} from "../lib/records.js" */
/** @import {Sources} from "../lib/matches.js" */

/**
 * A turn as it is shown.
 * @typedef {object} Shown
 * @property {HTMLElement} element
 * @property {boolean} user it is a message
 * @property {string} id the conversation's
 * @property {string} nid
 * @property {string} text
 * @property {string} state what its buttons were made for
 * @property {HTMLElement | null} receipt
 * @property {boolean} plain it is not rendered yet, or not with its marks
 * @property {boolean} growing
 * @property {number} firm how many of its nodes stay while it grows
 * @property {string} marked which parts are marked in what is shown, as JSON
 * @property {Sources} [sources]
 */

/** @typedef {{blocks?: string[], tail?: string, html?: string}} Html of the server */

const LEAVES = "The model does not see the messages above: they no longer fit its window";
const RENDER_CHARS = 40_000; // of replies that the server renders at once
const KEPT_MAX = 2_000;

/** Where the turns are shown. */
export const log = el("div", { id: "log" });
// Under the ids of conversation and turn, since a copy of a conversation has the same turns.
/** @type {Map<string, Shown>} */
const articles = new Map();
const line = el("p", { className: "left-out", textContent: LEAVES });
let rendering = false;

let lookUp = () => {};
/** @param {() => unknown} by looks up where the shown replies' code comes from */
export const attribute = (by) => {
  lookUp = by;
};

const dots = () => el("p", { className: "dots" }, el("i"), el("i"), el("i"));
const nothing = () => el("p", { className: "none", textContent: "No text came back." });

/** @param {string} id @param {string} nid @param {Node} node @param {boolean} growing @returns {Shown} */
const add = (id, nid, { role, text }, growing) => {
  const said = el("div", { className: "said", dir: "auto" });
  const user = role === "user";
  const plain = user ? hasFence(text) : !!text;
  if (user) said.append(el("div", { className: "typed", dir: "auto", textContent: text }));
  else if (plain) said.textContent = text;
  else said.append(growing ? dots() : nothing());
  said.classList.toggle("plain", plain);
  const heading = user ? "You said" : "The assistant said";
  const element = el(
    "article",
    { className: `turn ${role}` },
    el("h3", { className: "sr", textContent: heading }),
    said,
    el("div", { className: "acts" }),
  );
  const shown = {
    element,
    user,
    id,
    nid,
    text,
    state: "",
    receipt: null,
    plain,
    growing,
    firm: 0,
    marked: "[]",
  };
  articles.set(id + nid, shown);
  if (user) foldText(said);
  return shown;
};

/**
 * A reply has grown: blocks come to stay, what stands behind them is the tail. What does not change
 * stays the element that it is, so that a selection in it survives.
 * @param {string} id @param {string} nid @param {string} text all of it @param {Html} html
 */
export const grow = (id, nid, text, { blocks = [], tail = "", html }) => {
  const shown = articles.get(id + nid);
  if (!shown) return;
  const said = need(".said", shown.element);
  if (html !== undefined) shown.firm = 0;
  const firm = nodesOf(html ?? blocks.join(""));
  const fresh = code.ready([...firm, ...nodesOf(tail)], said, shown.growing);
  patch(said, shown.firm, fresh);
  shown.firm += firm.length;
  said.classList.remove("plain");
  if (!said.firstChild) said.append(nothing());
  if (shown.user) foldText(said);
  shown.text = text;
  shown.plain = false;
};

/** A reply has ended, however it did. @param {string} id @param {string} nid */
export const settle = (id, nid) => {
  const shown = articles.get(id + nid);
  if (!shown) return;
  shown.growing = false;
  shown.state = "";
  if (!shown.text) need(".said", shown.element).replaceChildren(nothing());
  code.settle(need(".said", shown.element));
};

// What is known of where a reply comes from
/** @param {Sources | undefined} sources */
const marksOf = (sources) => JSON.stringify(marks.spans(sources));
/** @param {Shown} shown @param {Sources | undefined} sources @param {string} [note] */
const learn = (shown, sources, note) => {
  shown.sources = sources;
  marks.list(shown.element, sources, note);
  if (marksOf(sources) !== shown.marked)
    shown.plain = true; // to be rendered with them
  else marks.name(shown.element, sources);
};
/** @param {string} id @param {string} nid @param {Sources | undefined} sources @param {string} [note] */
export const dress = (id, nid, sources, note) => {
  const shown = articles.get(id + nid);
  if (!shown) return;
  learn(shown, sources, note);
  render();
};

/** Where a turn is shown. @param {string} id @param {string} nid */
export const element = (id, nid) => articles.get(id + nid)?.element;

// The turns of the open path, the first one first
/** @type {Shown[]} */
let open = [];

/** The replies with code that are shown, the newest first: [id, nid, text] */
export const withCode = () =>
  open
    .filter(
      ({ element, user, plain, growing, sources }) =>
        !user && !plain && !growing && !sources && find(".said :is(code, .code)", element),
    )
    .map(({ id, nid, text }) => /** @type {const} */ ([id, nid, text]))
    .reverse();

const welcome = el(
  "div",
  { className: "welcome", id: "welcome" },
  el("h2", { textContent: "Ask about code" }),
  el("p", { textContent: facts.intro }),
);
/** @param {(text: string) => unknown} choose */
export const offer = (choose) =>
  welcome.append(
    el(
      "div",
      { className: "examples" },
      ...facts.examples.map((text) =>
        button(text, () => choose(text), { className: "act act-example" }),
      ),
    ),
  );
/** The transcript, which scrolls. */
export const transcript = el("div", { id: "transcript" }, welcome, log);

/**
 * Shows the path to `leaf`, and behind it a message that is on its way.
 * @param {Conversation | undefined} record @param {string | null} leaf
 * @param {{running: boolean, growing: string | undefined, pending: string | undefined, do_: Acts}} how
 */
export const show = (record, leaf, { running, growing, pending, do_ }) => {
  const path = record ? records.path(record, leaf) : [];
  const children = record ? records.family(record) : new Map();
  open = path.map((nid, index) => {
    const { id, nodes } = /** @type {Conversation} */ (record);
    const node = nodes[nid];
    let shown = articles.get(id + nid);
    // Another tab can have more of a reply that it writes.
    if (!shown || (shown.text !== node.text && !shown.growing)) {
      shown = add(id, nid, node, nid === growing);
    }
    const { element } = shown;
    if (node.sources && shown.sources !== node.sources) learn(shown, node.sources);
    const near = children.get(node.parent ?? "") ?? [];
    const last = index === path.length - 1;
    const state = JSON.stringify([
      near.indexOf(nid),
      near.length,
      last,
      running,
      !!node.pinned,
      nid === growing,
    ]);
    if (shown.state !== state) {
      shown.state = state;
      const row = need(".acts", element);
      const active = document.activeElement;
      const pressed = row.contains(active) && active?.classList[1];
      row.replaceChildren(
        ...(nid === growing ? [] : acts(nid, node, { children: near, last, running, do_ })),
      );
      if (node.role === "assistant" && nid !== growing) {
        shown.receipt ??= receipts.folded(id + nid, nid, node, do_);
        row.append(shown.receipt);
      }
      if (pressed) find(`.${pressed}`, row)?.focus();
    }
    element.classList.toggle("growing", nid === growing);
    return shown;
  });
  if (articles.size > open.length + KEPT_MAX) {
    const shown = new Set(open);
    for (const [key, one] of articles) if (!one.growing && !shown.has(one)) articles.delete(key);
  }
  const wanted = open.map(({ element }) => element);
  if (pending !== undefined) wanted.push(...coming(pending));
  let same = 0;
  while (same < wanted.length && log.children[same] === wanted[same]) same++;
  while (log.children.length > same) log.lastChild?.remove();
  log.append(...wanted.slice(same));
  transcript.classList.toggle("filled", wanted.length > 0);
  transcript.classList.toggle("running", running);
  render();
  lookUp();
};

/** A message that is on its way, and the reply that it waits for. @param {string} text */
const coming = (text) => [
  el(
    "article",
    { className: "turn user pending" },
    el("div", { className: "said", dir: "auto", textContent: text }),
  ),
  el("article", { className: "turn assistant pending" }, el("div", { className: "said" }, dots())),
];

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
const render = async () => {
  if (rendering) return;
  /** @type {Shown[]} */
  const chosen = [];
  let chars = 0;
  for (const shown of [...open].reverse()) {
    if (!shown.plain || shown.growing) continue;
    if (chars && chars + shown.text.length > RENDER_CHARS) break;
    chars += shown.text.length;
    chosen.push(shown);
  }
  if (!chars) return;
  rendering = true;
  const replies = chosen.map(({ text, user: said, sources }) => {
    return { text, said, marks: marks.spans(sources) };
  });
  const marked = chosen.map(({ sources }) => marksOf(sources));
  try {
    const { html } = await ask("render", { replies });
    chosen.forEach((shown, index) => {
      grow(shown.id, shown.nid, shown.text, { html: html[index] });
      shown.marked = marked[index];
      marks.name(shown.element, shown.sources);
      shown.plain = shown.marked !== marksOf(shown.sources); // more was found meanwhile
    });
  } catch {
    return; // they stay as they are until the page has more to show
  } finally {
    rendering = false;
  }
  render();
  lookUp();
};
