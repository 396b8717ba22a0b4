// How a prompt is continued: the fields, the presets, and what is wrong with what was typed.
import { el } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import {
  checkBias,
  RARE,
  rangeOf,
  readBias,
  SAMPLERS,
  USUAL,
  whyNot,
  writeBias,
} from "../lib/samplers.js";
import { SAMPLED } from "../lib/settings.js";
import { meant, spelt } from "../lib/spelt.js";

/** @import {Settings} from "../store/runs.js" */

const OWN = "Own";
const PRESET = "Careful";
const SEED_MAX = Number.MAX_SAFE_INTEGER;

/** @typedef {{label: string, least: number, most: number, whole?: boolean, tip: string}} Field */
/** @type {Record<string, Field>} */
const FIELDS = {
  ...Object.fromEntries(
    SAMPLED.map((name) => {
      const [least, most] = rangeOf(name);
      return [name, { ...SAMPLERS[name], least, most }];
    }),
  ),
  longest: { label: "Longest", least: 1, most: facts.window, whole: true, tip: "In tokens" },
  seed: { label: "Seed", least: 0, most: SEED_MAX, whole: true, tip: "Empty: another each time" },
};

/** @type {() => unknown} */
let changed = () => {};
/** @param {() => unknown} listener called when a person changes one */
export const listen = (listener) => {
  changed = listener;
};

/** @param {string} label @param {HTMLElement} control */
const labelled = (label, control) =>
  el("label", { className: "field" }, el("span", { textContent: label }), control);

/** @type {Record<string, HTMLInputElement>} */
const inputs = {};
for (const [name, { most, least, whole, tip }] of Object.entries(FIELDS)) {
  inputs[name] = el("input", {
    type: "number",
    inputMode: whole ? "numeric" : "decimal",
    name,
    min: least,
    max: most,
    step: whole ? 1 : "any",
    title: tip,
    oninput: () => {
      if (name in SAMPLERS) preset.value = nameOf();
      why();
      changed();
    },
  });
}
inputs.seed.placeholder = "random";
for (const [name, input] of Object.entries(inputs)) {
  input.disabled = !!whyNot(name);
  if (input.disabled) input.title = whyNot(name);
}

const preset = el(
  "select",
  {
    name: "preset",
    onchange: () => {
      const found = facts.presets.find(({ name }) => name === preset.value);
      if (found) fill(found.sampling);
      why();
      changed();
    },
  },
  ...[...facts.presets.map(({ name }) => name), OWN].map((name) =>
    el("option", { value: name, textContent: name }),
  ),
);
const count = el(
  "select",
  { name: "count", onchange: () => changed() },
  ...[1, 2, 3, 4].map((number) => el("option", { value: number, textContent: String(number) })),
);
const stops = el("textarea", {
  name: "stop",
  rows: 2,
  spellcheck: false,
  placeholder: "one per line, \\n is a line end",
  oninput: () => changed(),
});
const bias = el("input", {
  name: "logit_bias",
  placeholder: "token id: bias, ...",
  disabled: !!whyNot("logit_bias"),
  title: whyNot("logit_bias") || "Added to the logits of these tokens, from -100 to 100",
  oninput: () => changed(),
});
const reason = el("p", { className: "why" });

/** The preset that has the values of the fields. */
const nameOf = () =>
  facts.presets.find(({ sampling }) =>
    SAMPLED.every(
      (name) => inputs[name].value !== "" && Number(inputs[name].value) === sampling[name],
    ),
  )?.name ?? OWN;
const why = () => {
  const text = facts.presets.find(({ name }) => name === preset.value)?.why ?? "values of your own";
  reason.textContent = `${text[0].toUpperCase()}${text.slice(1)}.`;
};
/** @param {Record<string, any>} sampling */
const fill = (sampling) => {
  for (const name of SAMPLED) if (name in sampling) inputs[name].value = String(sampling[name]);
};

/** The fields. */
export const view = el(
  "details",
  { className: "play-settings", open: !matchMedia("(max-width: 640px)").matches },
  el("summary", { textContent: "How it goes on" }),
  el(
    "div",
    { className: "fields", role: "group", "aria-label": "How it goes on" },
    labelled("Sampling", preset),
    labelled("Temperature", inputs.temperature),
    labelled("Versions", count),
    labelled("Longest", inputs.longest),
    labelled("Seed", inputs.seed),
    el(
      "details",
      { className: "more" },
      el("summary", { textContent: "More" }),
      el(
        "div",
        { className: "fields" },
        ...USUAL.map((name) => labelled(FIELDS[name].label, inputs[name])),
        labelled("Stop strings", stops),
      ),
    ),
    el(
      "details",
      { className: "more" },
      el("summary", { textContent: "More samplers" }),
      el(
        "div",
        { className: "fields" },
        ...RARE.map((name) => labelled(FIELDS[name].label, inputs[name])),
        labelled("Bias of tokens", bias),
      ),
    ),
    reason,
  ),
);

/** Stop strings, one per line, as lib/spelt.js spells them. @param {string} text */
export const readStops = (text) => text.split("\n").filter(Boolean).map(meant);
/** @param {string[]} list */
export const showStops = (list) => list.map(spelt).join("\n");

/** What is wrong with the value of a field, or "". @param {Field} field @param {HTMLInputElement} input */
const fault = ({ label, least, most, whole }, input) => {
  const number = input.value === "" ? Number.NaN : Number(input.value);
  if (number >= least && number <= most && (!whole || Number.isInteger(number))) return "";
  const typed = input.validity.badInput ? "what is typed there" : input.value || "empty";
  const kind = whole ? "a whole number" : "a number";
  const bounds = `from ${least.toLocaleString("en")} to ${most.toLocaleString("en")}`;
  return `${label} must be ${kind} ${bounds}, not ${typed}.`;
};
/** The first sentence on what is wrong, or "". */
export const wrong = () => {
  for (const [name, field] of Object.entries(FIELDS)) {
    const input = inputs[name];
    if (name === "seed" && input.value === "" && !input.validity.badInput) continue;
    const sentence = fault(field, input);
    if (sentence) {
      view.open = true;
      const more = input.closest("details");
      if (more) more.open = true;
      input.focus();
      return sentence;
    }
  }
  if (readBias(bias.value) === null) {
    bias.focus();
    return "A bias of tokens is written as 12: 3.5, 99: -100: token ids, and numbers up to 100.";
  }
  return "";
};

/** @returns {Settings} */
export const get = () => ({
  sampling: {
    ...Object.fromEntries(SAMPLED.map((name) => [name, Number(inputs[name].value)])),
    logit_bias: readBias(bias.value) ?? [],
  },
  seed: inputs.seed.value === "" ? null : Number(inputs.seed.value),
  longest: Number(inputs.longest.value),
  count: Number(count.value),
  stop: readStops(stops.value),
});
/** @param {Settings} settings what is not there stays as it is */
export const use = ({ sampling, seed, longest, count: number, stop }) => {
  fill(sampling);
  bias.value = writeBias(checkBias(sampling.logit_bias));
  inputs.seed.value = String(seed ?? "");
  inputs.longest.value = String(Math.min(longest, facts.window));
  count.value = String(number);
  stops.value = showStops(stop);
  preset.value = nameOf();
  why();
};

/** In few words, for a list. @param {Settings} settings */
export const words = ({ sampling, seed }) =>
  [`temperature ${sampling.temperature}`, seed === null ? "" : `seed ${seed}`]
    .filter(Boolean)
    .join(" · ");

const usual = facts.presets.find(({ name }) => name === PRESET)?.sampling ?? {};
fill(usual);
use({ ...get(), seed: null, longest: 256, count: 1, stop: [] });
