// What people choose of how replies are asked for. What is read of it, from the browser's store, a file
// or a link, is checked here field by field. Knows no page and no store.
import { isCount, isObject, isText } from "./values.js";

/**
 * Where nothing is chosen, the server's own holds.
 * @typedef {object} Settings
 * @property {string} [template] the name of a prompt template
 * @property {number} [temperature] 0 to 2
 * @property {number} [max_new_tokens] at least 1
 * @property {number} [seed]
 * @property {boolean} [keep_all] refuse a message rather than leave earlier turns out
 */

const NAME_MAX = 100;

/** What `value` has of settings. @param {unknown} value @returns {Settings} */
export const checkSettings = (value) => {
  /** @type {Settings} */
  const settings = {};
  if (!isObject(value)) return settings;
  const { template, temperature, max_new_tokens, seed } = value;
  if (isText(template, NAME_MAX)) settings.template = template;
  if (typeof temperature === "number" && temperature >= 0 && temperature <= 2)
    settings.temperature = temperature;
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
  const { [name]: _, ...others } = settings;
  if (value === "" || value === false || (name === "template" && value === template)) {
    return checkSettings(others);
  }
  const chosen = value === true || name === "template" ? value : Number(value);
  return checkSettings({ ...others, [name]: chosen });
};
