// The runs of the playground that this browser keeps: a prompt, how it was run, and what came of it.
// The newest come first, and so many stay. Where the store is blocked they last as long as the page.
import { facts } from "../lib/facts.js";
import { checkBias } from "../lib/samplers.js";
import { isCount, isObject, isText, isTime } from "../lib/values.js";
import { table } from "./database.js";

/**
 * ids: tokens of the text, where they are known. note: what it cost. plain: it stays text, whatever
 * it spells: it came from the chat.
 * @typedef {{name: string, text: string, ids: number[] | null, note: string, plain?: boolean}} Version
 */

/**
 * @typedef {object} Settings
 * @property {Record<string, any>} sampling numbers, and logit_bias
 * @property {number | null} seed
 * @property {number} longest in tokens
 * @property {number} count of versions
 * @property {string[]} stop
 */

/**
 * @typedef {object} Run
 * @property {string} id
 * @property {number} time
 * @property {[text: string, trusted: boolean][]} segments of the prompt
 * @property {number} head how many characters of it are folded
 * @property {boolean} literal special tokens are read as text
 * @property {Settings} settings
 * @property {Version[]} versions
 * @property {Origin | null} origin
 */

/**
 * Where in the chat a prompt came from: the conversation, the turn that its reply stood behind, and
 * the prompt as it was.
 * @typedef {{id: string, after: string, opened: string}} Origin
 */

const RUNS_MAX = 100;
const SIZE_MAX = 1_000_000; // characters of a run as JSON
export const VERSIONS_MAX = 8;
const NAMES = Object.keys(facts.limits.sampling);
const WORD_MAX = 1_000;
const TEXT_MAX = 1_000_000;

/** @param {unknown} value @returns {value is number} */
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** What `value` has of segments. @param {unknown} value @returns {[string, boolean][]} */
export const checkSegments = (value) =>
  (Array.isArray(value) ? value : [])
    .filter((each) => Array.isArray(each) && isText(each[0], TEXT_MAX))
    .map(([text, trusted]) => [text, trusted === true]);

/** @param {unknown} value @returns {Settings} */
export const checkSettings = (value) => {
  const found = isObject(value) ? value : {};
  const sampling = isObject(found.sampling) ? found.sampling : {};
  const pairs = NAMES.map((name) => [name, sampling[name]]).filter(([, number]) =>
    isNumber(number),
  );
  const bias = checkBias(sampling.logit_bias);
  const stop = Array.isArray(found.stop) ? found.stop : [];
  return {
    sampling: { ...Object.fromEntries(pairs), ...(bias.length && { logit_bias: bias }) },
    seed: isCount(found.seed) ? found.seed : null,
    longest: isCount(found.longest) && found.longest > 0 ? found.longest : 256,
    count: isCount(found.count) && found.count >= 1 && found.count <= 4 ? found.count : 1,
    stop: stop
      .filter((each) => each && isText(each, facts.limits.stop))
      .slice(0, facts.limits.stops),
  };
};

/** @param {unknown} value @returns {Origin | null} */
export const checkOrigin = (value) => {
  if (!isObject(value)) return null;
  const { id, after, opened } = value;
  const good = isText(id, 100) && isText(after, 100) && isText(opened, TEXT_MAX);
  return good ? { id, after, opened } : null;
};

/** @param {unknown} value @returns {Version[]} */
export const checkVersions = (value) =>
  (Array.isArray(value) ? value : [])
    .filter((each) => isObject(each) && isText(each.text, TEXT_MAX) && isText(each.name, WORD_MAX))
    .slice(0, VERSIONS_MAX)
    .map(({ name, text, ids, note, plain }) => ({
      name,
      text,
      ids: Array.isArray(ids) && ids.every(isCount) ? ids : null,
      note: isText(note, WORD_MAX) ? note : "",
      ...(plain === true ? { plain } : {}),
    }));

/** What `value` has of a run; null for what is none. @param {unknown} value @returns {Run | null} */
export const check = (value) => {
  if (!isObject(value) || value.v !== 1 || !isText(value.id, 40) || !isTime(value.time))
    return null;
  const segments = checkSegments(value.segments);
  const run = {
    id: value.id,
    time: value.time,
    segments,
    head: isCount(value.head) ? value.head : 0,
    literal: value.literal === true,
    settings: checkSettings(value.settings),
    versions: checkVersions(value.versions),
    origin: checkOrigin(value.origin),
  };
  return segments.length && JSON.stringify(run).length <= SIZE_MAX ? run : null;
};

/** A version that is written, and what is kept of it already, are one. @param {Version} one @param {Version} other */
const same = (one, other) =>
  one.name === other.name && (one.text.startsWith(other.text) || other.text.startsWith(one.text));

/** The run with the versions that another tab wrote into it. @param {Run} run @param {unknown} there */
const joined = (run, there) => {
  const others = check(there)?.versions ?? [];
  const more = others.filter((each) => !run.versions.some((mine) => same(mine, each)));
  const versions = [...run.versions, ...more].slice(0, VERSIONS_MAX);
  return check({ v: 1, ...run, versions }) ?? run;
};

const database = table("runs");
/** @type {Map<string, Run>} */
const runs = new Map();
/** @type {() => unknown} */
let changed = () => {};

/** The newest first. */
export const all = () => [...runs.values()].sort((one, other) => other.time - one.time);
/** @param {string} id */
export const get = (id) => runs.get(id);
/** @param {() => unknown} listener called after each change */
export const listen = (listener) => {
  changed = listener;
};

/** @param {string} id @param {Run | null} run */
const write = async (id, run) => {
  try {
    await database.update(id, (there) => {
      if (!run) return null;
      const both = joined(run, there);
      if (runs.get(id) === run) runs.set(id, both);
      return { v: 1, ...both };
    });
  } catch {
    // blocked, or full
  }
};

/** @param {string} id */
const drop = (id) => {
  runs.delete(id);
  return write(id, null);
};

/**
 * Keeps a run, or what has become of it; whether it could. Of one that is too long the ids leave, then
 * the way back to the chat.
 * @param {Run} run
 */
export const keep = (run) => {
  const whole = { v: 1, ...run };
  const short = { ...whole, versions: run.versions.map((each) => ({ ...each, ids: null })) };
  const checked = check(whole) ?? check(short) ?? check({ ...short, origin: null });
  if (!checked) return false;
  runs.set(run.id, checked);
  write(run.id, checked);
  for (const { id } of all().slice(RUNS_MAX)) drop(id);
  changed();
  return true;
};

/** @param {string} id */
export const remove = (id) => {
  drop(id);
  changed();
};

/** Once what is stored is there; what cannot be read is left alone. */
export const loaded = database
  .all()
  .then((found) => {
    for (const run of found.map(check)) if (run && !runs.has(run.id)) runs.set(run.id, run);
    for (const { id } of all().slice(RUNS_MAX)) drop(id);
    changed();
  })
  .catch(() => {});
