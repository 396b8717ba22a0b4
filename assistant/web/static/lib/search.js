// What a search finds in a conversation: the turns that have all of the words, with what stands
// around them. Knows no page.
import * as records from "./records.js";

/** @import {Conversation} from "./records.js" */

/**
 * A piece of text, and whether it is one of the words.
 * @typedef {{text: string, found: boolean}} Piece
 */
/**
 * A turn. hidden: it stands in a version that is not the open one.
 * @typedef {{nid: string, hidden: boolean, pieces: Piece[]}} Hit
 */

const WORDS_MAX = 8;
const HITS_MAX = 3; // of a conversation
const [BEFORE, LENGTH] = [30, 110]; // characters of a snippet: before the first word, and in all

/** @param {string} word */
const literal = (word) => word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

/** The words of a search, bounded. @param {string} wanted */
export const wordsOf = (wanted) => wanted.trim().split(/\s+/).filter(Boolean).slice(0, WORDS_MAX);

/** A text in pieces. @param {string} text @param {string[]} words @returns {Piece[]} */
export const mark = (text, words) => {
  if (!words.length) return [{ text, found: false }];
  const longestFirst = [...words].sort((a, b) => b.length - a.length);
  return text
    .split(new RegExp(`(${longestFirst.map(literal).join("|")})`, "iu"))
    .map((piece, index) => ({ text: piece, found: index % 2 === 1 }))
    .filter(({ text: piece }) => piece);
};

/** What stands around the longest of the words. @param {string} text @param {string[]} words */
const snippet = (text, words) => {
  const [longest] = [...words].sort((a, b) => b.length - a.length);
  const first = Math.max(0, text.search(new RegExp(literal(longest), "iu")));
  let start = Math.max(0, first - BEFORE);
  const space = text.slice(start, first).search(/\s/);
  if (start && space >= 0) start += space + 1;
  else if (/[\udc00-\udfff]/.test(text[start] ?? "")) start++;
  const rest = text.slice(start);
  const shown = records.cut(rest, LENGTH);
  const line = shown.replace(/```\w*/g, "").replace(/\s+/g, " ");
  return mark(`${start ? "… " : ""}${line}${shown.length < rest.length ? " …" : ""}`, words);
};

/**
 * What is found there: null for nothing, no hits where it is the title alone.
 * @param {Conversation} record @param {string[]} words
 * @returns {{hits: Hit[], more: number} | null} more: how many further turns have them
 */
export const look = (record, words) => {
  const patterns = words.map((word) => new RegExp(literal(word), "iu"));
  const has = (/** @type {string} */ text) => patterns.every((pattern) => pattern.test(text));
  const turns = Object.keys(record.nodes).filter((nid) => has(record.nodes[nid].text));
  if (!turns.length) return has(record.title) ? { hits: [], more: 0 } : null;
  const open = new Set(records.path(record, record.leaf));
  const sorted = [
    ...turns.filter((nid) => open.has(nid)),
    ...turns.filter((nid) => !open.has(nid)),
  ];
  return {
    hits: sorted.slice(0, HITS_MAX).map((nid) => ({
      nid,
      hidden: !open.has(nid),
      pieces: snippet(record.nodes[nid].text, words),
    })),
    more: Math.max(0, sorted.length - HITS_MAX),
  };
};
