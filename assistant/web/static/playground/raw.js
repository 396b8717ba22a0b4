// A raw prompt in which some ranges are plain text, whatever they spell: what came from a message or a
// value stays text through every edit. As assistant/completion/raw.py has it. Knows text alone.

/**
 * plain: ranges in characters, sorted and apart. spelt: what looks like a special token and stood in
 * one of them at some time: cut out and put back, typed over and undone, it stays plain.
 * @typedef {{text: string, plain: [number, number][], spelt: Set<string>}} Raw
 */
/** @typedef {[text: string, trusted: boolean][]} Segments */

const LOOKALIKE = /<[^<>\s]{1,64}>/g; // what special tokens look like

/** @param {Segments} segments @returns {Raw} */
export const fromSegments = (segments) => {
  let text = "";
  /** @type {[number, number][]} */
  const plain = [];
  for (const [part, trusted] of segments) {
    if (!trusted && part) plain.push([text.length, text.length + part.length]);
    text += part;
  }
  return { text, plain, spelt: spelt({ text, plain }) };
};

/** What looks like a special token and is plain, if only a part of it. @param {Pick<Raw, "text" | "plain">} raw */
const spelt = ({ text, plain }) => {
  /** @type {Set<string>} */
  const found = new Set();
  let at = 0;
  for (const { 0: part, index } of text.matchAll(LOOKALIKE)) {
    while (at < plain.length && plain[at][1] <= index) at++;
    if (at < plain.length && plain[at][0] < index + part.length) found.add(part);
  }
  return found;
};

/** The prompt with a text behind it. @param {Raw} raw @param {string} more @param {boolean} trusted @returns {Raw} */
export const appended = (raw, more, trusted) => {
  const text = raw.text + more;
  const plain = trusted ? raw.plain : joined([...raw.plain, [raw.text.length, text.length]]);
  return { text, plain, spelt: new Set([...raw.spelt, ...spelt({ text, plain })]) };
};

/** @param {Raw} raw @returns {Segments} */
export const toSegments = ({ text, plain }) => {
  /** @type {Segments} */
  const segments = [];
  let at = 0;
  for (const [start, end] of plain) {
    segments.push([text.slice(at, start), true], [text.slice(start, end), false]);
    at = end;
  }
  segments.push([text.slice(at), true]);
  return segments.filter(([part]) => part);
};

/** @param {string} text @param {number} at whether a character that is two units is cut there */
const cuts = (text, at) => /[\ud800-\udbff][\udc00-\udfff]/.test(text.slice(at - 1, at + 1));

/** How much two texts share at their beginnings, and at their ends. @param {string} old @param {string} text */
const shared = (old, text) => {
  const most = Math.min(old.length, text.length);
  let start = 0;
  while (start < most && old.charCodeAt(start) === text.charCodeAt(start)) start++;
  if (start && (cuts(old, start) || cuts(text, start))) start--;
  let tail = 0;
  const [one, other] = [old.length - 1, text.length - 1];
  while (tail < most && old.charCodeAt(one - tail) === text.charCodeAt(other - tail)) tail++;
  if (tail && (cuts(old, old.length - tail) || cuts(text, text.length - tail))) tail--;
  return { most, start, tail };
};

/**
 * The prompt after an edit that made its text `text`. Ranges move along, as far as both texts begin
 * and end alike; one around the whole edit grows with it. What was plain and looks like a special
 * token is plain wherever it may have been put: in all that changed, or that may have changed where
 * the same edit could have happened in several places.
 * @param {Raw} raw @param {string} text
 * @param {[number, number]} [selected] what was selected before: surely replaced @returns {Raw}
 */
export const edited = (raw, text, selected = [raw.text.length, 0]) => {
  if (raw.text === text || (!raw.plain.length && !raw.spelt.size)) return { ...raw, text };
  const { most, start, tail } = shared(raw.text, text);
  const end = raw.text.length - Math.min(tail, most - start);
  const longer = text.length - raw.text.length;
  const known = new Set([...raw.spelt, ...spelt(raw)]);
  const from = Math.min(start, most - tail, selected[0]);
  const to = text.length - Math.min(tail, most - start, raw.text.length - selected[1]);
  /** @type {[number, number][]} */
  const plain = [];
  for (const { 0: part, index } of text.matchAll(LOOKALIKE)) {
    const behind = index + part.length;
    if (index < to && behind > from && known.has(part)) plain.push([index, behind]);
  }
  for (const [a, b] of raw.plain) {
    if (b <= start) plain.push([a, b]);
    else if (a >= end) plain.push([a + longer, b + longer]);
    else if (a <= start && b >= end) plain.push([a, b + longer]);
    else plain.push([a, start], [end + longer, b + longer]);
  }
  return { text, plain: joined(plain), spelt: known };
};

/** @param {[number, number][]} ranges in any order, some empty @returns {[number, number][]} */
const joined = (ranges) => {
  /** @type {[number, number][]} */
  const plain = [];
  for (const [a, b] of ranges.sort(([one], [other]) => one - other)) {
    const last = plain.at(-1);
    if (last && a <= last[1]) last[1] = Math.max(last[1], b);
    else if (a < b) plain.push([a, b]);
  }
  return plain;
};
