// The turns of other programs as a conversation of ours: roles alternate, the user begins, a question
// is not empty, and all is within what records.js takes. What must go is counted. Each walk is a
// loop, since a file may hold a hundred thousand turns in a line.
import * as records from "../lib/records.js";
import { counted, cut, size } from "../lib/text.js";

/** @import {Conversation, Role} from "../lib/records.js" */

/**
 * A turn as a file has it. parent: an id, or null at the top; children: ids, the oldest first, where
 * they are known; role: "" for what is passed over, so that its children hang on its parent.
 * @typedef {{parent: unknown, children?: unknown, role: Role | "", text: string}} Said
 */

/** A turn of ours; parent: the index of one before it. @typedef {{parent: number | null, role: Role, text: string}} Grown */

/**
 * A turn that may go on one of the same role, `before` it. above: the turn that they hang on, of the
 * other role; length: of all their texts; ends: the other role follows; grows: the same role
 * follows; index: among the turns, once it is one.
 * @typedef {object} Run
 * @property {Role} role
 * @property {string} text
 * @property {Run | null} before
 * @property {Run | null} above
 * @property {number} length
 * @property {boolean} ends
 * @property {boolean} grows
 * @property {number | null} index
 */

const CHARS_MAX = 20_000_000; // of all texts of a file: branches repeat what they share

/** What may be left out, one and many. @type {Record<string, [one: string, many?: string]>} */
const KINDS = {
  unknown: ["entry of an unknown kind", "entries of an unknown kind"],
  empty: ["conversation without a question", "conversations without a question"],
  broken: ["broken conversation"],
  system: ["system message"],
  tool: ["tool message"],
  other: ["message of another role", "messages of another role"],
  image: ["image"],
  recording: ["recording"],
  file: ["file"],
  call: ["tool call"],
  thought: ["thought"],
  part: ["part that is no text", "parts that are no text"],
  early: ["reply before the first question", "replies before the first question"],
  loose: ["turn that belongs nowhere", "turns that belong nowhere"],
  cut: ["text was cut", "texts were cut"],
};

/** What is left out of a file. */
export class Left {
  /** @type {Map<string, number>} */
  #counts = new Map();
  #chars = 0;

  /** @param {keyof typeof KINDS} kind */
  add(kind, count = 1) {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + count);
  }

  /** @param {keyof typeof KINDS} kind */
  has(kind) {
    return this.#counts.has(kind);
  }

  /** So many characters come in; an Error where they are too many. @param {number} chars */
  take(chars) {
    this.#chars += chars;
    if (this.#chars > CHARS_MAX) throw new Error("its branches unfold to too many characters");
  }

  /** "", or what was left out, as a sentence. */
  toString() {
    const found = Object.entries(KINDS).flatMap(([kind, [one, many]]) => {
      const count = this.#counts.get(kind);
      return count ? [counted(count, one, many)] : [];
    });
    if (!found.length) return "";
    const all = found.length === 1 && this.has("cut");
    return `${all ? "" : "Left out: "}${found.join(", ")}.`;
  }
}

/** The ids from the top down, each behind its parent. @param {Map<unknown, Said>} said */
const downwards = (said) => {
  const order = new Set(); // parents know in which order their children came
  for (const { children } of said.values())
    if (Array.isArray(children)) for (const id of children) order.add(id);
  for (const id of said.keys()) order.add(id);
  /** @type {Map<unknown, unknown[]>} */
  const below = new Map();
  for (const id of order) {
    const one = said.get(id);
    if (!one) continue;
    const siblings = below.get(one.parent);
    if (siblings) siblings.push(id);
    else below.set(one.parent, [id]);
  }
  const found = [];
  const waiting = (below.get(null) ?? []).reverse();
  while (waiting.length) {
    const id = waiting.pop();
    found.push(id);
    for (const child of (below.get(id) ?? []).reverse()) waiting.push(child);
  }
  return found;
};

/**
 * The runs by the ids of their last turns; an id that is passed over has its parent's.
 * @param {Map<unknown, Said>} said @param {Left} left
 */
const runsOf = (said, left) => {
  /** @type {Map<unknown, Run | null>} */
  const runs = new Map();
  for (const id of downwards(said)) {
    const { parent, role, text } = /** @type {Said} */ (said.get(id));
    const last = runs.get(parent) ?? null;
    const early = role === "assistant" && !last;
    if (early && text.trim()) left.add("early");
    if (!role || early || (role === "user" && !text.trim())) {
      runs.set(id, last);
      continue;
    }
    const before = last?.role === role ? last : null;
    if (before) before.grows = true;
    else if (last) last.ends = true;
    const above = before ? before.above : last;
    const length = text.length + (before ? before.length + 2 : 0);
    runs.set(id, { role, text, before, above, length, ends: false, grows: false, index: null });
  }
  for (const [id, { role }] of said) if (role && !runs.has(id)) left.add("loose");
  return runs;
};

/** All that a run says, within what a turn may have. @param {Run} run @param {Left} left */
const textOf = (run, left) => {
  const parts = [];
  for (let one = /** @type {Run | null} */ (run); one; one = one.before)
    if (one.text) parts.push(one.text);
  const text = parts.reverse().join("\n\n");
  const most = run.role === "user" ? records.MAX.message : records.MAX.text;
  if (size(text) <= most) return text;
  left.add("cut");
  return cut(text.trim(), most);
};

/**
 * The turns, and the index of the one that is open.
 * @param {Map<unknown, Said>} said @param {unknown} open the id of the newest turn that is shown
 * @param {Left} left
 */
export const grow = (said, open, left) => {
  const runs = runsOf(said, left);
  /** @type {Grown[]} */
  const turns = [];
  for (const run of new Set(runs.values())) {
    if (!run || (run.grows && !run.ends)) continue;
    left.take(run.length);
    const parent = run.above?.index ?? null;
    run.index = turns.length;
    for (let one = run.before; one && one.index === null; one = one.before) one.index = run.index;
    turns.push({ parent, role: run.role, text: textOf(run, left) });
  }
  return { turns, leaf: runs.get(open)?.index ?? turns.length - 1 };
};

/** 64 bits that tell texts apart, in hex; no secret. @param {string} text */
const digest = (text) => {
  let [one, other] = [0x811c9dc5, 0x9e3779b9];
  for (let at = 0; at < text.length; at++) {
    one = Math.imul(one ^ text.charCodeAt(at), 0x01000193);
    other = Math.imul(other ^ one ^ (other >>> 15), 0x85ebca6b);
  }
  return [one, other].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
};

/**
 * A conversation of these turns, or an Error. Its ids come from what it says, so a file that is read
 * twice gives the same one.
 * @param {{title: string, created?: number, updated?: number}} about times in milliseconds
 * @param {Grown[]} turns @param {number} leaf an index
 */
export const made = ({ title, created, updated }, turns, leaf) => {
  const code = digest(JSON.stringify([title, turns]));
  const nid = (/** @type {number} */ index) =>
    `n${code.slice(0, 10)}${index.toString(16).padStart(6, "0")}`;
  const nodes = Object.fromEntries(
    turns.map(({ parent, role, text }, index) => [
      nid(index),
      { parent: parent === null ? null : nid(parent), role, text },
    ]),
  );
  const record = records.create(`c${code}`);
  return records.check({ ...record, title, created, updated, leaf: nid(leaf), nodes });
};
