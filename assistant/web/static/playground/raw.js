// A raw prompt in which some ranges are plain text, whatever they spell: what came from a message or a
// value stays text through every edit. As assistant/completion/raw.py has it. Knows text alone.

/** plain: ranges in characters, sorted and apart. @typedef {{text: string, plain: [number, number][]}} Raw */
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
  return { text, plain };
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

/** Where two texts part: how much their beginnings and their ends share. @param {string} old @param {string} text */
const shared = (old, text) => {
  const most = Math.min(old.length, text.length);
  let start = 0;
  while (start < most && old.charCodeAt(start) === text.charCodeAt(start)) start++;
  if (start && (cuts(old, start) || cuts(text, start))) start--;
  let tail = 0;
  const [one, other] = [old.length - 1, text.length - 1];
  while (tail < most - start && old.charCodeAt(one - tail) === text.charCodeAt(other - tail))
    tail++;
  if (tail && (cuts(old, old.length - tail) || cuts(text, text.length - tail))) tail--;
  return { start, tail };
};

/**
 * The prompt after an edit that made its text `text`. Ranges move along, as far as both texts begin
 * and end alike; one around the whole edit grows with it. Of others, what looks like a special token
 * stays plain where it is found again in the same order.
 * @param {Raw} raw @param {string} text @returns {Raw}
 */
export const edited = (raw, text) => {
  if (!raw.plain.length || raw.text === text) return { text, plain: raw.plain };
  const { start, tail } = shared(raw.text, text);
  const end = raw.text.length - tail;
  const longer = text.length - raw.text.length;
  /** @type {[number, number, string][]} */
  const found = [];
  for (const match of text.slice(start, end + longer).matchAll(LOOKALIKE))
    found.push([start + match.index, start + match.index + match[0].length, match[0]]);
  /** @type {[number, number][]} */
  const plain = [];
  for (const [a, b] of raw.plain) {
    if (b <= start) plain.push([a, b]);
    else if (a >= end) plain.push([a + longer, b + longer]);
    else if (a <= start && b >= end) plain.push([a, b + longer]);
    else {
      plain.push([a, start], [end + longer, b + longer]);
      for (const [part] of raw.text
        .slice(Math.max(a, start), Math.min(b, end))
        .matchAll(LOOKALIKE)) {
        const at = found.findIndex(([, , spelt]) => spelt === part);
        if (at < 0) continue;
        plain.push([found[at][0], found[at][1]]);
        found.splice(0, at + 1);
      }
    }
  }
  return { text, plain: joined(plain) };
};

/** @param {[number, number][]} ranges in any order, some empty @returns {[number, number][]} */
const joined = (ranges) => {
  /** @type {[number, number][]} */
  const plain = [];
  for (const [a, b] of ranges.sort(([one], [other]) => one - other)) {
    const start = Math.max(a, plain.at(-1)?.[1] ?? 0);
    if (start < b) plain.push([start, b]);
  }
  return plain;
};
