// What of a conversation travels to the server: the newest turns that any window can hold, and the
// pinned ones. An exchange is a message and its reply; those that stay here are counted.
import { facts } from "../lib/facts.js";

/** @import {Conversation} from "../lib/records.js" */

const TOKEN_BYTES = 40; // of a token's text and of its id; on the average it has fewer
const BESIDE = 100_000; // bytes for the draft, and for what stands around the turns
const ROOM = Math.min(facts.limits.body - 2 * BESIDE, TOKEN_BYTES * facts.window + BESIDE);
const encoder = new TextEncoder();

/**
 * Exchanges that are left out, as ranges: [first, the one after the last].
 * @typedef {[number, number][]} Ranges
 */

/** @param {number} index @param {Ranges} ranges */
const within = (index, ranges) => ranges.some(([from, to]) => from <= index && index < to);

/** @param {number[]} numbers in order @returns {Ranges} */
const rangesOf = (numbers) => {
  /** @type {Ranges} */
  const found = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last?.[1] === number) last[1]++;
    else found.push([number, number + 1]);
  }
  return found;
};

/** A range list from a file or the store. @param {unknown} value @returns {Ranges} */
export const checkRanges = (value) =>
  Array.isArray(value)
    ? value.filter((range) => Array.isArray(range) && range.every(Number.isSafeInteger))
    : [];

/**
 * @param {Conversation} record @param {string[]} path
 * @param {Ranges} [left] which exchanges stay here; else those for which there is no room
 * @returns {{turns: {}[], sent: number[], left: Ranges}} sent: the exchanges that travel
 */
export const select = (record, path, left) => {
  const turns = path.map((nid) => {
    const { role, text, ids, pinned, finish } = record.nodes[nid];
    return { role, content: text, ids, pinned, finish };
  });
  const count = Math.ceil(turns.length / 2);
  /** @type {number[]} */
  const sent = [];
  let room = ROOM;
  let places = facts.limits.turns - 4; // a lost reply and a message may be added
  for (let index = count - 1; index >= 0; index--) {
    const exchange = turns.slice(2 * index, 2 * index + 2);
    const pinned = exchange.some((turn) => turn.pinned);
    const newest = index === count - 1;
    if (left ? within(index, left) : (room <= 0 || places <= 0) && !pinned && !newest) continue;
    if (!left) {
      const bytes = encoder.encode(JSON.stringify(exchange)).length;
      if (bytes > room && !pinned && !newest) {
        room = 0; // what is older stays, too
        continue;
      }
      room -= bytes;
      places -= exchange.length;
    }
    sent.unshift(index);
  }
  const here = new Set(sent);
  return {
    turns: sent.flatMap((index) => turns.slice(2 * index, 2 * index + 2)),
    sent,
    left: left ?? rangesOf([...Array(count).keys()].filter((index) => !here.has(index))),
  };
};

/** How many exchanges a receipt says were not sent. @param {Ranges} ranges */
export const countOf = (ranges) => ranges.reduce((sum, [from, to]) => sum + to - from, 0);
