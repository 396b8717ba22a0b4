// The samplers that a person can set: what they are called, and how a bias of tokens is written.
import { facts } from "./facts.js";
import { isCount } from "./values.js";

/** @import {Sampled} from "./facts.js" */
/** @typedef {{label: string, tip: string, whole?: boolean}} Sampler */

/** @type {Record<Sampled, Sampler>} */
export const SAMPLERS = {
  temperature: { label: "Temperature", tip: "0 takes the likeliest token" },
  top_p: { label: "Top p", tip: "1 is off" },
  top_k: { label: "Top k", tip: "0 is off", whole: true },
  min_p: { label: "Min p", tip: "0 is off" },
  repetition_penalty: { label: "Repetition penalty", tip: "1 is off" },
  typical_p: { label: "Typical p", tip: "1 is off" },
  presence_penalty: { label: "Presence penalty", tip: "0 is off" },
  frequency_penalty: { label: "Frequency penalty", tip: "0 is off" },
  dry_multiplier: { label: "DRY strength", tip: "Against repeats; 0 is off" },
  dry_base: { label: "DRY growth", tip: "With each token of a repeat" },
  dry_allowed_length: { label: "DRY from", tip: "Tokens of a repeat that are free", whole: true },
};
export const USUAL = /** @type {Sampled[]} */ (["top_p", "top_k", "min_p", "repetition_penalty"]);
/** Those that stand behind a fold. */
export const RARE = /** @type {Sampled[]} */ ([
  "typical_p",
  "presence_penalty",
  "frequency_penalty",
  "dry_multiplier",
  "dry_base",
  "dry_allowed_length",
]);
/** Of which the least value is one too little. */
const ABOVE = new Set(["top_p", "typical_p"]);
const LEAST_ABOVE = 0.001;
/** From where to where a sampler may be typed. @param {Sampled} name @returns {[number, number]} */
export const rangeOf = (name) => {
  const [least, most] = facts.limits.sampling[name];
  return [ABOVE.has(name) ? LEAST_ABOVE : least, most];
};
/** Why this server cannot be asked for it, or "". @param {string} name */
export const whyNot = (name) =>
  facts.limitations[name.startsWith("dry_") ? "dry_multiplier" : name] ?? "";
/** Whether `number` is a value of the sampler. @param {Sampled} name @param {unknown} number */
export const isSampler = (name, number) => {
  const [least, most] = facts.limits.sampling[name];
  return (
    typeof number === "number" &&
    number >= least &&
    number <= most &&
    !(ABOVE.has(name) && number === least) &&
    !(SAMPLERS[name].whole && !Number.isInteger(number))
  );
};

/** @typedef {[number, number][]} Bias token ids, and what is added to their logits */
const BIAS_MAX = 100;
const BIASES_MAX = 1024;
const ONE = /^(\d{1,10})\s*[:=]\s*([-+]?\d+(?:\.\d*)?)$/;
/** What `value` has of a bias. @param {unknown} value @returns {Bias} */
export const checkBias = (value) =>
  (Array.isArray(value) ? value : [])
    .filter(
      (pair) =>
        Array.isArray(pair) &&
        isCount(pair[0]) &&
        typeof pair[1] === "number" &&
        Math.abs(pair[1]) <= BIAS_MAX,
    )
    .slice(0, BIASES_MAX)
    .map(([token, bias]) => [token, bias]);
/** `12: 3.5, 99: -100` as pairs; null where it is not written so. @param {string} text */
export const readBias = (text) => {
  const parts = text.split(/[,\n]/).map((part) => part.trim());
  const found = parts.filter(Boolean).map((part) => ONE.exec(part));
  const pairs = found.map((one) => one && [Number(one[1]), Number(one[2])]);
  const checked = checkBias(pairs);
  return checked.length === pairs.length ? checked : null;
};
/** @param {Bias} bias */
export const writeBias = (bias) => bias.map(([token, value]) => `${token}: ${value}`).join(", ");
