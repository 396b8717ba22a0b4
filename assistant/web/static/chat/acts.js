// The buttons under a turn, and how it ended.
import { button, copy, el } from "../lib/dom.js";

/** @import {Node} from "../lib/records.js" */

/**
 * What the buttons under a turn do: see chat.js.
 * @typedef {Record<"edit" | "regenerate" | "carryOn" | "pin" | "step" | "again" | "saw" | "playground",
 *   (nid: string) => unknown>} Acts
 */

/** @type {Record<string, string>} */
const MARKS = {
  length: "Cut at the reply's length limit",
  cancelled: "Stopped",
  error: "Interrupted by an error",
};

/** @type {(name: string, label: string, action: Parameters<typeof button>[1], properties?: {}) =>
 *   HTMLButtonElement} */
const act = (name, label, action, properties = {}) =>
  button(label, action, { className: `act act-${name}`, ...properties });

/** @param {string} nid @param {string[]} children @param {(nid: string) => unknown} step */
const stepper = (nid, children, step) => {
  const at = children.indexOf(nid);
  const to = (
    /** @type {number} */ index,
    /** @type {string} */ sign,
    /** @type {string} */ label,
  ) =>
    act("step", sign, () => step(children[index]), {
      disabled: !(index in children),
      title: label,
      "aria-label": label,
    });
  return el(
    "span",
    { className: "steps" },
    to(at - 1, "‹", "Earlier version"),
    el("span", { textContent: `${at + 1}/${children.length}` }),
    to(at + 1, "›", "Later version"),
  );
};

/**
 * The buttons under a turn.
 * @param {string} nid @param {Node} node
 * @param {{children: string[], last: boolean, running: boolean, do_: Acts}} place
 */
export const acts = (nid, node, { children, last, running, do_ }) => {
  const user = node.role === "user";
  const copying = act("copy-text", "Copy", (event) => copy(event.currentTarget, node.text));
  const pin = act("pin", node.pinned ? "Pinned" : "Pin", () => do_.pin(nid), {
    "aria-pressed": String(!!node.pinned),
    title: "A pinned turn stays in the model's window",
  });
  const again = user ? last : true;
  const ending = MARKS[node.finish ?? ""];
  return [
    node.text ? copying : null,
    user ? act("edit", "Edit", () => do_.edit(nid)) : null,
    again && !(last && running) ? act("regenerate", "Regenerate", () => do_.regenerate(nid)) : null,
    last && !running && ["length", "cancelled", "error"].includes(node.finish ?? "") && node.text
      ? act("continue", "Continue", () => do_.carryOn(nid))
      : null,
    pin,
    children.length > 1 ? stepper(nid, children, do_.step) : null,
    ending ? el("span", { className: "mark", textContent: ending }) : null,
  ].filter((part) => part !== null);
};
