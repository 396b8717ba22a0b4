// Turns that leave a conversation, so that they can come back. What is left of one is its place, since
// another tab may have put something behind it meanwhile.
import { family } from "./records.js";

/** @import {Conversation, Node} from "./records.js" */

/**
 * Takes out a turn and all that stands behind it; or, of a message, it and its replies alone: what
 * stood behind those moves up. Gives what puts all of it back.
 * @param {Conversation} record @param {string} nid @param {boolean} alone
 * @returns {(record: Conversation) => void}
 */
export const remove = (record, nid, alone) => {
  const children = family(record);
  /** @param {string} of */
  const below = (of) => children.get(of) ?? [];
  const gone = [nid];
  for (let at = 0; at < gone.length && !(alone && at); at++)
    for (const child of below(gone[at])) gone.push(child);
  const moved = alone ? gone.slice(1).flatMap(below) : [];
  const changed = [...moved]; // and all behind them, whose prompts were others
  for (let at = 0; at < changed.length; at++)
    for (const child of below(changed[at])) changed.push(child);
  /** @type {[string, Node][]} */
  const were = [...gone, ...changed].map((each) => [each, record.nodes[each]]);
  const { leaf } = record;
  const up = record.nodes[nid].parent;
  for (const each of moved) record.nodes[each] = { ...record.nodes[each], parent: up };
  for (const each of changed) {
    const { receipt, ...node } = record.nodes[each];
    if (receipt) record.nodes[each] = { ...node, receipt: { ...receipt, cut: true } };
  }
  for (const each of gone) {
    const { parent, role } = record.nodes[each];
    record.nodes[each] = { parent, role, text: "", gone: true };
  }
  if (leaf && gone.includes(leaf)) record.leaf = up;
  return (later) => {
    Object.assign(later.nodes, Object.fromEntries(were));
    later.leaf = leaf;
  };
};
