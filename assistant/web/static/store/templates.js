// The prompt templates that a visitor keeps in this browser, each with its versions. Where the browser's
// store is blocked or full they last as long as the page, which says so.
import { facts } from "../lib/facts.js";
import { newId } from "../lib/records.js";
import { isObject, isText, isTime } from "../lib/values.js";
import { table } from "./database.js";

/** @typedef {{time: number, toml: string}} Version time in milliseconds; toml: a template file */

/**
 * @typedef {object} Kept
 * @property {string} id
 * @property {string} name of the newest version
 * @property {Version[]} versions at least one, the newest last
 */

export const MAX = { templates: 50, versions: 20, name: 200, chars: facts.limits.template };
const ID = /^t[0-9a-f]{8,30}$/;

const database = table("templates");
const channel = new BroadcastChannel("tech-assistant/templates"); // to other tabs: something changed
/** @type {Map<string, Kept>} */
const templates = new Map();
/** @type {(() => unknown)[]} */
const listeners = [];
let lasting = true;

/** Whether what is kept outlives the page. */
export const lasts = () => lasting;
/** All of them, the one that was saved last first. */
export const kept = () =>
  [...templates.values()].sort((one, other) => newest(other).time - newest(one).time);
/** @param {Kept} template */
export const newest = (template) => template.versions[template.versions.length - 1];
/** @param {string} id */
export const find = (id) => templates.get(id);
/** @param {() => unknown} listener called after each change */
export const listenKept = (listener) => listeners.push(listener);

const changed = () => {
  for (const listener of listeners) listener();
};

/** @param {unknown} value @returns {value is Version} */
const isVersion = (value) =>
  isObject(value) && isTime(value.time) && isText(value.toml, MAX.chars) && value.toml !== "";

/** What a stored value is, checked field by field. @param {unknown} value @returns {Kept | null} */
export const check = (value) => {
  if (!isObject(value) || typeof value.id !== "string" || !ID.test(value.id)) return null;
  if (!isText(value.name, MAX.name) || !value.name || !Array.isArray(value.versions)) return null;
  const versions = value.versions.slice(-MAX.versions).filter(isVersion);
  if (!versions.length) return null;
  return {
    id: value.id,
    name: value.name,
    versions: versions.map(({ time, toml }) => ({ time, toml })),
  };
};

/** With the versions that another tab wrote. @param {Kept} next @param {unknown} there @returns {Kept} */
const joined = (next, there) => {
  const has = (/** @type {Version} */ { time, toml }) =>
    next.versions.some((each) => each.time === time && each.toml === toml);
  const others = (check(there)?.versions ?? []).filter((each) => !has(each));
  const versions = [...others, ...next.versions].sort((one, other) => one.time - other.time);
  return { ...next, versions: versions.slice(-MAX.versions) };
};

/** What another tab wrote counts as well. @param {string} id @param {Kept | null} next */
const write = async (id, next) => {
  const put = (/** @type {Kept | null} */ kept) => {
    if (kept) templates.set(id, kept);
    else templates.delete(id);
    changed();
  };
  put(next);
  try {
    const stored = await database.update(id, (there) => next && joined(next, there));
    lasting = true;
    if (stored && stored.versions.length !== next?.versions.length) put(stored);
    channel.postMessage("changed");
    return stored;
  } catch {
    lasting = false;
    changed();
    return next;
  }
};

/**
 * Keeps a template: a new one, or another version of the one with that id. Throws an Error whose
 * message is for a person.
 * @param {string} name @param {string} toml @param {string | null} [id]
 */
export const save = async (name, toml, id) => {
  const there = templates.get(id ?? "");
  if (!there && templates.size >= MAX.templates)
    throw new Error(`At most ${MAX.templates} templates are kept in a browser; delete one first.`);
  const versions = there?.versions ?? [];
  const same = versions.length > 0 && versions[versions.length - 1].toml === toml;
  const time = Math.max(Date.now(), (versions[versions.length - 1]?.time ?? 0) + 1);
  const next = {
    id: there?.id ?? newId("t"),
    name,
    versions: (same ? versions : [...versions, { time, toml }]).slice(-MAX.versions),
  };
  return (await write(next.id, next)) ?? next;
};

/** Puts back what was deleted. @param {Kept} template */
export const put = (template) => write(template.id, template);

/** @param {string} id */
export const remove = (id) => write(id, null);

/** Reads them all, what other tabs wrote among them. */
export const load = async () => {
  try {
    const found = (await database.all()).map(check);
    if (lasting) templates.clear();
    for (const each of found) if (each) templates.set(each.id, each);
  } catch {
    lasting = false;
  }
  changed();
};

channel.onmessage = () => load();
load();
