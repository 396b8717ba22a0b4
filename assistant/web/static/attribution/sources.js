// Where a reply's code comes from: the server is asked once a reply with code is there, what it found
// is kept beside the reply, underlined in it and listed below.
import { el, find, need } from "../lib/dom.js";
import { hear, send } from "../lib/gradio.js";
import * as marks from "../lib/marks.js";
import { checkSources, moreOf, sentenceOf, spansOf } from "../lib/matches.js";
import { newId } from "../lib/records.js";
import * as store from "../lib/store.js";

/** @import {Match, Sources} from "../lib/matches.js" */

/** @type {Map<string, string>} */
const looking = new Map(); // nid -> what is said while the server looks

/** @param {Match} match */
const item = (match) =>
  el(
    "li",
    {},
    match.url
      ? el("a", {
          href: match.url,
          target: "_blank",
          rel: "noopener noreferrer",
          textContent: sentenceOf(match),
        })
      : sentenceOf(match),
    el("span", { textContent: ` · ${moreOf(match)}` }),
  );

/**
 * Shows in a reply's article what is known of it.
 * @param {HTMLElement} article
 * @param {{nid: string, text: string}} turn
 * @param {Sources | undefined} found
 */
export const dress = (article, { nid, text }, found) => {
  const said = need(".said", article);
  marks.clear(said);
  find(".sources", article)?.remove();
  const notes = [looking.get(nid)];
  if (found) {
    const parts = found.matches.map((match) => ({
      ...match,
      kind: match.length < 99 ? "short" : "long",
      tip: `${sentenceOf(match)}. ${moreOf(match)}`,
    }));
    const spans = found.spans.map((span) => ({
      ...span,
      kind: "known",
      tip: `Stands in the training data, says ${found.service}`,
    }));
    if (!said.classList.contains("plain")) marks.underline(said, text, [...parts, ...spans]);
    notes.push(found.note, found.spans.length ? spansOf(found) : "");
  }
  const items = [
    ...(found?.matches ?? []).map(item),
    ...notes.filter(Boolean).map((note) => el("li", { textContent: note })),
  ];
  if (items.length)
    said.after(el("ul", { className: "sources", "aria-label": "Sources" }, ...items));
};

/** Asks the server for a reply's sources. @param {string} id @param {string} nid @param {string} text */
export const look = (id, nid, text) =>
  send("check", { n: newId("q"), id, nid, text, service: service.checked });

/**
 * What is heard of a reply's sources. ended: the server looks no longer; failed: it could not look.
 * @typedef {{id: string, nid: string, sources?: Sources, ended: boolean, failed: boolean}} Heard
 */

/** @type {(heard: Heard) => unknown} */
let told = () => {};
/** @param {(heard: Heard) => unknown} listener */
export const listen = (listener) => {
  told = listener;
};

// Not store.change: a conversation that is looked up keeps its place in the list.
/** @param {string} id @param {string} nid @param {Sources} sources */
const keep = (id, nid, sources) => {
  const record = store.get(id);
  if (!record?.nodes[nid]) return;
  store.put({ ...record, nodes: { ...record.nodes, [nid]: { ...record.nodes[nid], sources } } });
};

hear("checked", ({ id, nid, building, n, ...found }) => {
  if (building) {
    looking.set(nid, building);
    const sources = store.get(id)?.nodes[nid]?.sources;
    return told({ id, nid, sources, ended: false, failed: false });
  }
  looking.delete(nid);
  const sources = checkSources(found);
  const failed = !!sources.note && !sources.matches.length && !sources.spans.length;
  if (!failed) keep(id, nid, sources); // else it is looked up again another time
  told({ id, nid, sources, ended: true, failed });
});

// Whether a service is asked too: this browser's choice, which no file and no link can make.
const CHOICE = "tech-assistant/service";
/** @param {string} [value] */
const stored = (value) => {
  try {
    if (value !== undefined) localStorage.setItem(CHOICE, value);
    return localStorage.getItem(CHOICE);
  } catch {
    return null; // blocked
  }
};
let host = ""; // the service
const service = el("input", {
  type: "checkbox",
  name: "service",
  onchange: () => stored(service.checked ? host : ""),
});
const asks = el("span");
/** The field in which a person chooses that. */
export const choice = el("label", { className: "field check", hidden: true }, service, asks);
hear("facts", (facts) => {
  host = facts.service ?? "";
  choice.hidden = !host;
  service.checked = !!host && stored() === host;
  asks.textContent =
    `Ask ${host} whether a reply's code stands in the training data. The reply is sent there: ` +
    "it leaves this machine.";
});
