// The buttons under a turn, and how it ended.
import { button, copy, el } from "../lib/dom.js";

/** @import {Node} from "../lib/records.js" */

/**
 * What the buttons under a turn do: see doing.js.
 * @typedef {Record<"edit" | "regenerate" | "carryOn" | "pin" | "step" | "again" | "saw" | "playground"
 *   | "insert" | "removeOne" | "removeAll", (nid: string) => unknown>} Acts
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

/** @param {string} nid @param {Node} node @param {Acts} do_ */
const more = (nid, node, do_) => {
  const user = node.role === "user";
  const menu = el("details", { className: "menu act-menu" });
  const inside = el("div", {});
  const summary = el(
    "summary",
    { className: "act act-more", title: "More", "aria-label": "More" },
    "⋯",
  );
  menu.append(summary, inside);
  menu.addEventListener("toggle", () => {
    if (!menu.open || inside.firstChild) return;
    /** @type {[string, string, (nid: string) => unknown][]} */
    const items = user
      ? [
          ["remove-one", "Delete this exchange", do_.removeOne],
          ["remove-all", "Delete from here on", do_.removeAll],
        ]
      : [
          ["insert", "Write the next exchange yourself", do_.insert],
          ["remove-all", "Delete this reply and what follows", do_.removeAll],
        ];
    inside.append(
      ...items.map(([name, label, action]) =>
        act(name, label, () => {
          menu.open = false;
          action(nid);
        }),
      ),
    );
  });
  menu.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !menu.contains(/** @type {globalThis.Node} */ (relatedTarget)))
      menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    summary.focus();
  });
  return menu;
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
  const ending = MARKS[node.finish ?? ""];
  const again = user ? last : true;
  return [
    node.text ? copying : null,
    running ? null : act("edit", "Edit", () => do_.edit(nid)),
    again && !running ? act("regenerate", "Regenerate", () => do_.regenerate(nid)) : null,
    last && !user && !running && node.text
      ? act("continue", "Continue", () => do_.carryOn(nid))
      : null,
    pin,
    running ? null : more(nid, node, do_),
    children.length > 1 ? stepper(nid, children, do_.step) : null,
    node.edited ? el("span", { className: "mark", textContent: "Edited by you" }) : null,
    ending ? el("span", { className: "mark", textContent: ending }) : null,
  ].filter((part) => part !== null);
};
