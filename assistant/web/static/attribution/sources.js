// Where a reply's code comes from: the server is asked once a reply with code is there, one at a time;
// what it found is kept beside the reply.
import { el } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { checkSources } from "../lib/matches.js";
import { events } from "../lib/server.js";
import * as store from "../store/store.js";

/** @import {Sources} from "../lib/matches.js" */

/**
 * Where replies are shown: see chat/turns.js.
 * @typedef {{withCode: () => (readonly [string, string, string])[],
 *   dress: (id: string, nid: string, sources: Sources | undefined, note?: string) => unknown}} Place
 */

const RETRY_MS = 5_000;
/** @type {Set<string>} */
const asked = new Set(); // of conversation and turn
let looking = false;

// Not store.change: a conversation that is looked up keeps its place in the list.
/** @param {string} id @param {string} nid @param {Sources} sources */
const keep = (id, nid, sources) => {
  const record = store.get(id);
  if (!record?.nodes[nid]) return;
  store.put({ ...record, nodes: { ...record.nodes, [nid]: { ...record.nodes[nid], sources } } });
};

/** Looks up what is shown and was not looked up yet, the newest first. @param {Place} place */
export const look = async (place) => {
  if (looking) return;
  const next = place.withCode().find(([id, nid]) => !asked.has(id + nid));
  if (!next) return;
  const [id, nid, text] = next;
  asked.add(id + nid);
  looking = true;
  try {
    for await (const news of events("sources", { text, service: service.checked })) {
      if (news.building) {
        place.dress(id, nid, undefined, news.building);
        continue;
      }
      const sources = checkSources(news);
      const found = sources.matches.length || sources.spans.length || !sources.note;
      if (found)
        keep(id, nid, sources); // else it is looked up again another time
      // Where it failed, so would the earlier ones: they wait until the page is loaded anew.
      else for (const [of, turn] of place.withCode()) asked.add(of + turn);
      place.dress(id, nid, sources);
    }
  } catch {
    asked.delete(id + nid); // the server is away
    setTimeout(() => look(place), RETRY_MS);
    return;
  } finally {
    looking = false;
  }
  look(place);
};

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
const host = facts.service ?? "";
const service = el("input", {
  type: "checkbox",
  name: "service",
  checked: !!host && stored() === host,
  onchange: () => stored(service.checked ? host : ""),
});
/** The field in which a person chooses that. */
export const choice = el(
  "label",
  { className: "field check", hidden: !host },
  service,
  el("span", {
    textContent:
      `Ask ${host} whether a reply's code stands in the training data. The reply is sent there: ` +
      "it leaves this machine.",
  }),
);
