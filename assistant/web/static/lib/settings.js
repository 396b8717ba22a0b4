// What people choose of how replies are asked for. What is read of it, from the browser's store, a file
// or a link, is checked here field by field. Knows no page and no store.
import { facts } from "./facts.js";
import { checkBias, isSampler, readBias } from "./samplers.js";
import { isCount, isObject, isText } from "./values.js";

/** @import {Bias} from "./samplers.js" */

/**
 * Where nothing is chosen, the server's own holds.
 * @typedef {object} Settings
 * @property {string} [template] the name of a prompt template
 * @property {string} [template_text] its file, where it is none of the server's
 * @property {string} [system] instructions
 * @property {number} [temperature]
 * @property {number} [top_p]
 * @property {number} [top_k]
 * @property {number} [min_p]
 * @property {number} [repetition_penalty]
 * @property {number} [typical_p]
 * @property {number} [presence_penalty]
 * @property {number} [frequency_penalty]
 * @property {number} [dry_multiplier]
 * @property {number} [dry_base]
 * @property {number} [dry_allowed_length]
 * @property {Bias} [logit_bias]
 * @property {number} [max_new_tokens] at least 1
 * @property {number} [seed]
 * @property {boolean} [keep_all] refuse a message rather than leave earlier turns out
 */

const NAME_MAX = 200;

/** @import {Sampled} from "./facts.js" */

/** What a preset chooses. */
export const SAMPLED = /** @type {Sampled[]} */ (Object.keys(facts.limits.sampling));
const TEXTS = ["template", "system"];

/** What `value` has of settings. @param {unknown} value @returns {Settings} */
export const checkSettings = (value) => {
  /** @type {Settings} */
  const settings = {};
  if (!isObject(value)) return settings;
  const { template, template_text, system, max_new_tokens, seed } = value;
  if (isText(template, NAME_MAX)) settings.template = template;
  if (settings.template && isText(template_text, facts.limits.template))
    settings.template_text = template_text;
  if (isText(system, facts.limits.message) && system.trim()) settings.system = system;
  for (const name of SAMPLED) {
    const number = value[name];
    if (typeof number === "number" && isSampler(name, number)) settings[name] = number;
  }
  const bias = checkBias(value.logit_bias);
  if (bias.length) settings.logit_bias = bias;
  if (isCount(max_new_tokens) && max_new_tokens > 0) settings.max_new_tokens = max_new_tokens;
  if (isCount(seed)) settings.seed = seed;
  if (value.keep_all === true) settings.keep_all = true;
  return settings;
};

/**
 * The settings with one of them changed, or taken out where the field is empty or says what holds
 * anyway.
 * @param {Settings} settings
 * @param {keyof Settings} name
 * @param {string | boolean} value as the field has it
 * @param {string} template the one that holds where none is chosen
 * @returns {Settings}
 */
export const choose = (settings, name, value, template) => {
  const { [name]: _, ...rest } = settings;
  /** @type {Settings} */
  const others = rest;
  if (name === "template") delete others.template_text;
  if (value === "" || value === false || (name === "template" && value === template)) {
    return checkSettings(others);
  }
  if (name === "logit_bias") return checkSettings({ ...others, [name]: readBias(String(value)) });
  const chosen = value === true || TEXTS.includes(name) ? value : Number(value);
  return checkSettings({ ...others, [name]: chosen });
};
