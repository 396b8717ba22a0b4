// Where a reply's code comes from, as the server found it: checked, and in words. Paths and licences
// come from an index or an imported file: all of it is text.
import { isCount, isObject, isText } from "./values.js";

/**
 * A part of a reply that stands in a source; start and end: code points of the reply.
 * @typedef {object} Match
 * @property {number} start
 * @property {number} end
 * @property {string} text
 * @property {string} path
 * @property {number} start_line
 * @property {number} end_line
 * @property {string} licence
 * @property {string} source
 * @property {string} url "" where there is none
 * @property {number} length characters
 * @property {number} others places beside this one
 */

/**
 * spans: parts that stand in the training data, as `service` says, which names no source.
 * @typedef {object} Sources
 * @property {Match[]} matches
 * @property {{start: number, end: number}[]} spans
 * @property {string} service
 * @property {string} note what else is to be said, or ""
 */

const MAX = { word: 1_000, match: 8_000, list: 50 };

/** What `value` has of sources. @param {Record<string, unknown>} value @returns {Sources} */
export const checkSources = (value) => {
  /** @param {unknown} found */
  const list = (found) => (Array.isArray(found) ? found.filter(isObject).slice(0, MAX.list) : []);
  /** @param {unknown} text */
  const word = (text, max = MAX.word) => (isText(text, max) ? text : "");
  /** @param {unknown} number */
  const count = (number) => (isCount(number) ? number : 0);
  return {
    matches: list(value.matches).map((match) => ({
      start: count(match.start),
      end: count(match.end),
      text: word(match.text, MAX.match),
      path: word(match.path),
      start_line: count(match.start_line),
      end_line: count(match.end_line),
      licence: word(match.licence),
      source: word(match.source),
      url: /^https?:\/\//.test(word(match.url)) ? word(match.url) : "",
      length: count(match.length),
      others: count(match.others),
    })),
    spans: list(value.spans).map(({ start, end }) => ({ start: count(start), end: count(end) })),
    service: word(value.service),
    note: word(value.note),
  };
};

/** @param {Match} match */
export const sentenceOf = ({ path, licence, start_line: first, end_line: last }) =>
  `Matches ${path}, ${first === last ? `line ${first}` : `lines ${first}–${last}`}, ${licence}`;

/** What else there is to say of a match. @param {Match} match */
export const moreOf = ({ source, others, length }) =>
  [
    source,
    `${length} characters`,
    others ? `and in ${others} more ${others === 1 ? "place" : "places"}` : "",
  ]
    .filter(Boolean)
    .join(" · ");

/** @param {Sources} sources */
export const spansOf = ({ spans, service }) =>
  `${spans.length} ${spans.length === 1 ? "part stands" : "parts stand"} in the training data, ` +
  `says ${service}; it names no source`;

/** All of it as lines, for a file of text. @param {Sources | undefined} sources */
export const linesOf = (sources) =>
  sources
    ? [...sources.matches.map(sentenceOf), ...(sources.spans.length ? [spansOf(sources)] : [])]
    : [];
