// What a receipt says, in words. It comes from the server or from an imported file, so each value may
// be anything; knows no page.
import { checkRanges, countOf } from "../composer/sent.js";
import { counted, cut, size } from "../lib/text.js";
import { isObject } from "../lib/values.js";

/** @type {Record<string, string>} what is not worth a word */
const OFF = { typical_p: "1", presence_penalty: "0", frequency_penalty: "0", logit_bias: "[]" };
const CHARS_MAX = 4_000; // of one value that is shown
const LIST_MAX = 100; // values of a list that are

/** @param {unknown} value */
export const number = (value, digits = 0) =>
  typeof value === "number" && Number.isFinite(value)
    ? value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })
    : "?";
/** @param {unknown} count */
export const tokens = (count) => `${number(count)} ${count === 1 ? "token" : "tokens"}`;
/** What may be anything, on one line and short. @param {unknown} value @returns {string} */
const said = (value) => {
  if (value === null || value === undefined) return "";
  const plain = ["string", "number", "boolean"].includes(typeof value);
  const text = plain ? String(value) : JSON.stringify(value);
  const shown = cut(text, CHARS_MAX);
  return shown === text ? text : `${shown}… (${counted(size(text), "character")} in all)`;
};
/** What stands behind the first of a list. @param {unknown[]} all @returns {string[]} */
const more = (all) => (all.length > LIST_MAX ? [`… (${number(all.length)} in all)`] : []);
/** @param {unknown} text */
const quoted = (text) => `“${said(text).replaceAll("\n", "\\n")}”`;
const ENDS = new Map([
  ["length", "at the length limit"],
  ["cancelled", "stopped by hand"],
  ["error", "by an error"],
]);

/**
 * [name, text] of all that there is to say.
 * @param {Record<string, any>} receipt @returns {[string, string][]}
 */
export const rows = (receipt) => {
  const sampling = isObject(receipt.sampling) ? receipt.sampling : {};
  const dry = sampling.dry_multiplier !== 0;
  const values = Object.entries(sampling).filter(
    ([name, value]) =>
      name !== "seed" &&
      (name.startsWith("dry_") ? dry : !(name in OFF) || said(value) !== OFF[name]),
  );
  const dropped = Array.isArray(receipt.dropped) ? receipt.dropped.length : 0;
  const left = dropped + countOf(checkRanges(receipt.left));
  const stops = Array.isArray(receipt.stop) ? receipt.stop : [];
  const cached = receipt.cached ? `, ${number(receipt.cached)} of them cached` : "";
  const parts = [receipt.preamble, receipt.history, receipt.message];
  const prompt = parts.every(Number.isFinite) ? parts.reduce((sum, part) => sum + part, 0) : null;
  /** @type {[string, string][]} */
  const found = [
    ["Model", [said(receipt.model), said(receipt.revision)].filter(Boolean).join(" · ")],
    ["Adapter", said(receipt.adapter)],
    ["Computed in", said(receipt.numerics)],
    ["Window", receipt.window ? tokens(receipt.window) : ""],
    [
      "Prompt template",
      `${said(receipt.template)} · ${said(receipt.template_hash).slice(0, 12)}` +
        (receipt.template_text ? " · kept in the browser, its text stands in this receipt" : ""),
    ],
    ["Instructions", said(receipt.system)],
    [
      "Sampling",
      values
        .slice(0, LIST_MAX)
        .map(([name, value]) => `${said(name).replaceAll("_", " ")} ${said(value)}`)
        .concat(more(values))
        .join(", "),
    ],
    ["Seed", said(sampling.seed)],
    ["Longest reply", tokens(receipt.max_new_tokens)],
    ["Stop strings", stops.slice(0, LIST_MAX).map(quoted).concat(more(stops)).join(" ")],
    ["Prompt", `${tokens(prompt)}${cached}`],
    [
      "Made up of",
      `template ${number(receipt.preamble)}, history ${number(receipt.history)}, ` +
        `message ${number(receipt.message)}`,
    ],
    [
      "Edited by you",
      receipt.edited
        ? `${number(receipt.edited)} earlier ${receipt.edited === 1 ? "reply" : "replies"}`
        : "",
    ],
    ["Left out", left ? `${left} earlier ${left === 1 ? "exchange" : "exchanges"}` : "nothing"],
    [
      "Reply",
      tokens(receipt.reply) +
        (receipt.continued
          ? `, behind ${number(receipt.continued)} ${receipt.begun ? "that you wrote" : "before"}`
          : ""),
    ],
    [
      "Ended",
      ENDS.get(receipt.reason) ??
        (receipt.stopped_by ? `at ${quoted(receipt.stopped_by)}` : "by itself"),
    ],
    ["First token after", `${number(receipt.ttft_s, 2)} s`],
    ["Speed", receipt.tokens_per_s ? `${number(receipt.tokens_per_s)} tokens/s` : ""],
  ];
  return found.filter(([, value]) => value !== "");
};
