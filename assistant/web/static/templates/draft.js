// The template that is edited: the file's text or the fields, whichever was typed in last, and what the
// server says of it. The draft lives in this tab and outlives a reload.
import { el } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { ask } from "../lib/server.js";
import { isObject, isText } from "../lib/values.js";
import { ofTab } from "../store/kept.js";
import * as store from "../store/templates.js";
import * as fields from "./fields.js";
import { say } from "./status.js";

/** @import {Fields} from "./fields.js" */
/** @import {Token} from "./preview.js" */

const PAUSE_MS = 300; // after the last letter that was typed
const KEY = "template-draft";

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
    later();
  },
});

/** @type {AbortController | undefined} */
let asking;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
/** @type {Promise<void>} */
let last = Promise.resolve();

/** @param {unknown} [saved] fields that are not shown yet */
const check = async (saved) => {
  clearTimeout(timer);
  timer = undefined;
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const written = saved ?? (now.typed ? fields.read() : null);
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
  } catch (error) {
    if (signal.aborted) return;
    now.told = null;
    say(/** @type {Error} */ (error).message, null, true);
  }
  changed(now.told);
};
const later = () => {
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

fields.listen(
  () => {
    now.typed = true;
    later();
  },
  (what) => {
    const before = fields.read();
    const back = () => {
      if (before) fields.show(before);
      now.typed = true;
      later();
    };
    say(what, back);
  },
);

/**
 * Another template in the place of this one, which can be put back.
 * @param {Draft} next @param {string} [what] is said
 */
export const put = async (next, what = "") => {
  await settle();
  const former = { ...now.draft };
  const lost = former.toml !== former.from && former.toml !== next.toml;
  now.draft = { ...next };
  now.typed = false;
  text.value = next.toml;
  last = check();
  await last;
  const sentence = what || (lost ? "What was edited before is put aside." : "");
  if (sentence && now.told && !now.told.error) say(sentence, lost ? () => put(former) : null);
};

/** @param {string} name of one of the server's */
export const putServers = async (name) => {
  try {
    /** @type {Told} */
    const { toml } = await ask("template", { name });
    await put({ toml, from: toml, by: name, kept: null });
  } catch (error) {
    say(/** @type {Error} */ (error).message, null, true);
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
  ofTab(KEY, JSON.stringify({ ...now.draft, fields: now.typed ? fields.read() : null }));
};
addEventListener("pagehide", remember);

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
  const { chars } = store.MAX;
  if (!isObject(saved) || !isText(saved.toml, chars) || !isText(saved.from, chars))
    return putServers(facts.template);
  const { toml, from, by, kept } = saved;
  now.draft = { toml, from, by: nameOf(by), kept: nameOf(kept) };
  text.value = toml;
  last = check(saved.fields);
  await last;
};
