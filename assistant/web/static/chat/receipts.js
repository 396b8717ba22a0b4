// The receipt under a reply, running it again, and what the model saw. Receipts come from the server
// or from an imported file: all of it is shown as text.

import { append, button, copy, el, need } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { number, rows, tokens } from "./receipt.js";

/** @import {Node} from "../lib/records.js" */

/** @param {Record<string, any>} receipt */
const table = (receipt) =>
  el(
    "table",
    {},
    el(
      "tbody",
      {},
      ...rows(receipt).map(([name, value]) =>
        el(
          "tr",
          {},
          el("th", { scope: "row", textContent: name }),
          el("td", { textContent: value }),
        ),
      ),
    ),
  );

const { limitations } = facts;
/** @param {Record<string, any> | undefined} receipt */
const speedOf = (receipt) =>
  receipt?.tokens_per_s
    ? el("span", { className: "speed", textContent: ` · ${number(receipt.tokens_per_s)} tokens/s` })
    : null;
/** @type {Map<string, HTMLElement>} */
const results = new Map(); // key -> where its second run is told

/**
 * The receipt as a fold below a reply.
 * @param {string} key of the reply in all conversations @param {string} nid @param {Node} node
 * @param {{again: (nid: string) => unknown, saw: (nid: string) => unknown,
 *   playground: (nid: string) => unknown}} do_ what its buttons do
 */
export const folded = (key, nid, node, do_) => {
  const inside = el("div", { className: "receipt-inside" });
  const details = el(
    "details",
    { className: "receipt" },
    el("summary", {}, "Receipt", speedOf(node.receipt)),
    inside,
  );
  details.addEventListener("toggle", () => {
    if (!details.open || inside.firstChild) return;
    const result = el("div", { className: "again", role: "status" });
    results.set(key, result);
    inside.append(
      node.receipt
        ? table(node.receipt)
        : el("p", { className: "none", textContent: "No receipt came with this reply." }),
      el(
        "div",
        { className: "receipt-acts" },
        node.receipt && !node.receipt.cut
          ? button("Run again", () => do_.again(nid), {
              className: "act act-again",
              disabled: !!limitations.seed,
            })
          : null,
        node.receipt?.cut
          ? null
          : button("What the model saw", () => do_.saw(nid), { className: "act act-saw" }),
        button("Open in playground", () => do_.playground(nid), {
          className: "act act-playground",
        }),
      ),
      result,
    );
    if (node.receipt?.cut) {
      const sentence = "An earlier exchange was deleted since, so this reply cannot be had again.";
      result.append(el("p", { textContent: sentence }));
    } else if (limitations.seed) result.append(el("p", { textContent: limitations.seed }));
  });
  return details;
};

/**
 * Shows what a second run of a reply gave: {at, was, now, why}; at: the first token that differs, or
 * null; why: what was another then, or null
 * @param {string} key @param {any} answer
 */
export const compared = (key, { at, was, now, why }) => {
  const result = results.get(key);
  if (!result) return;
  const part = (/** @type {string} */ name, /** @type {any} */ { before, token, after }) =>
    el(
      "p",
      { className: "differs" },
      el("b", { textContent: name }),
      before,
      el("mark", { textContent: token || "(the end)" }),
      after,
    );
  result.replaceChildren(
    ...(at === null
      ? [el("p", { textContent: "Run again: the same text." })]
      : [
          el("p", {
            textContent: [
              `Run again: another text, from token ${number(at + 1)} on.`,
              ...(why ? [why] : []),
            ].join(" "),
          }),
          part("Before: ", was),
          part("Now: ", now),
        ]),
  );
};

/**
 * Shows the prompt of a reply: {tokens: [[text, id, kind]], left, text}; kind: "special", "trusted" or
 * "plain"
 * @param {{tokens: [string, number, string][], left: number}} answer
 */
export const saw = ({ tokens: pieces, left }) => {
  const prompt = el("pre", { className: "seen", tabIndex: 0 });
  append(
    prompt,
    pieces.map(([text, id, kind]) => {
      const shown = text.replaceAll("\n", "↵\n") || "·";
      return el("span", {
        className: `seen-token from-${kind}`,
        title: `id ${id}`,
        textContent: shown,
      });
    }),
  );
  const exact = pieces.map(([text]) => text).join("");
  const legend = [
    ["trusted", "template"],
    ["plain", "messages and replies, plain text whatever they spell"],
    ["special", "special token"],
  ];
  /** @type {HTMLDialogElement} */
  const dialog = el(
    "dialog",
    { className: "saw", "aria-labelledby": "saw-title" },
    el("h2", { id: "saw-title", textContent: "What the model saw" }),
    el("p", {
      textContent:
        `${tokens(pieces.length)}; each box is one.` +
        (left
          ? ` ${left} earlier ${left === 1 ? "exchange was" : "exchanges were"} left out.`
          : ""),
    }),
    el(
      "p",
      { className: "legend" },
      ...legend.map(([kind, text]) =>
        el(
          "span",
          {},
          el("span", { className: `seen-token from-${kind}`, textContent: "abc" }),
          ` ${text}`,
        ),
      ),
    ),
    prompt,
    el(
      "div",
      { className: "dialog-acts" },
      button("Copy", (event) => copy(event.currentTarget, exact), { className: "act" }),
      button("Close", () => dialog.close(), { className: "act" }),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  need("#chat").append(dialog);
  dialog.showModal();
};
