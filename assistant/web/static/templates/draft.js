// The template that is edited: the file's text or the fields, whichever was typed in last, and what the
// server says of it. The draft lives in this tab and outlives a reload.
import { el } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { ask } from "../lib/server.js";
import { isObject, isText } from "../lib/values.js";
import { ofTab } from "../store/kept.js";
import * as store from "../store/templates.js";
import * as fields from "./fields.js";
import { forget, report, say } from "./status.js";

/** @import {Fields} from "./fields.js" */
/** @import {Token} from "./preview.js" */

const PAUSE_MS = 300; // after the last letter that was typed
const KEY = "template-draft";
const DRAFT_MAX = 10 * store.MAX.chars; // characters: a draft that is too long to be used is kept, too

/**
 * What is edited. from: the text that it began with. by: the name of a template of the server that
 * this was. kept: the id of one of this browser that it belongs to.
 * @typedef {{toml: string, from: string, by: string | null, kept: string | null}} Draft
 */
/**
 * What the server says of a template: see pages/templates/routes.py. error: why it is not usable;
 * then there is nothing else but its text.
 * @typedef {{toml: string, error?: string, fields: Fields, tokens: Token[], count: number,
 *   preamble_tokens: number, hash: string, jinja: string, note: string | null}} Told
 */

/** typed: fields were changed, and the file's text follows them. @type {{draft: Draft, told: Told | null, typed: boolean}} */
export const now = {
  draft: { toml: "", from: "", by: null, kept: null },
  told: null,
  typed: false,
};
/** @type {(told: Told | null) => unknown} */
let changed = () => {};
/** @param {(told: Told | null) => unknown} listener called with what the server says */
export const listen = (listener) => {
  changed = listener;
};

/** The file's text. */
export const text = el("textarea", {
  id: "template-toml",
  className: "mono",
  spellcheck: false,
  "aria-label": "Template file",
  "aria-describedby": "template-status",
  oninput: () => {
    now.draft.toml = text.value;
    now.typed = false;
    unshown = null;
    forget();
    later();
  },
});

/** Fields of the draft that was restored, until they are shown. @type {unknown} */
let unshown = null;
/** @type {AbortController | undefined} */
let asking;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
/** @type {Promise<void>} */
let last = Promise.resolve();

const check = async () => {
  clearTimeout(timer);
  timer = undefined;
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const [saved, typed] = [unshown, now.typed ? fields.read() : null];
  const written = saved ?? typed;
  try {
    /** @type {Told} */
    const answer = await ask(
      "template",
      written ? { fields: written } : { toml: now.draft.toml },
      signal,
    );
    if (signal.aborted) return;
    now.told = answer;
    if (written) text.value = now.draft.toml = answer.toml;
    if (!answer.error && (saved || !written)) fields.show(answer.fields);
    unshown = null;
    remember();
  } catch (error) {
    if (signal.aborted) return;
    now.told = null;
    report(/** @type {Error} */ (error).message, true);
  }
  changed(now.told);
};
const later = () => {
  asking?.abort(); // its answer is about what stood here before
  clearTimeout(timer);
  timer = setTimeout(() => {
    last = check();
  }, PAUSE_MS);
};
/** Once what stands here was looked at. */
export const settle = async () => {
  if (timer !== undefined) last = check();
  await last;
};

fields.listen(() => {
  now.typed = true;
  later();
}, say);

/**
 * Another template in the place of this one, which can be put back.
 * @param {Draft} next @param {string} [what] is said
 * @param {Fields | null} [written] fields that its text does not have yet
 */
export const put = async (next, what = "", written = null) => {
  await settle();
  const former = { ...now.draft };
  const left = now.typed && !now.told ? fields.read() : null; // the server did not answer
  const lost = !!left || (former.toml !== former.from && former.toml !== next.toml);
  now.draft = { ...next };
  now.typed = false;
  unshown = written;
  text.value = next.toml;
  const sentence = what || (lost ? "What was edited before is put aside." : "");
  say(sentence, lost ? () => put(former, "", left) : null);
  last = check();
  await last;
  if (now.told && !now.told.error) report(sentence);
};

/** @param {string} name of one of the server's */
export const putServers = async (name) => {
  try {
    /** @type {Told} */
    const { toml } = await ask("template", { name });
    await put({ toml, from: toml, by: name, kept: null });
  } catch (error) {
    report(/** @type {Error} */ (error).message, true);
  }
};

/** @param {string} id of one of this browser's */
export const putKept = async (id) => {
  const there = store.find(id);
  if (!there) return;
  const { toml } = store.newest(there);
  await put({ toml, from: toml, by: null, kept: id });
};

// Over a reload

const remember = () => {
  if (!now.draft.toml) return;
  ofTab(KEY, JSON.stringify({ ...now.draft, fields: now.typed ? fields.read() : unshown }));
};
addEventListener("pagehide", remember);
addEventListener("visibilitychange", remember); // a phone may end the page without another word

/** @param {unknown} value */
const nameOf = (value) => (isText(value, store.MAX.name) ? value : null);

/** What was edited here before, or the server's own template. */
export const begin = async () => {
  let saved;
  try {
    saved = JSON.parse(ofTab(KEY) ?? "");
  } catch {
    // nothing, or nothing that can be read
  }
  if (!isObject(saved) || !isText(saved.toml, DRAFT_MAX) || !isText(saved.from, DRAFT_MAX))
    return putServers(facts.template);
  const { toml, from, by, kept } = saved;
  now.draft = { toml, from, by: nameOf(by), kept: nameOf(kept) };
  text.value = toml;
  unshown = saved.fields ?? null;
  last = check();
  await last;
};
