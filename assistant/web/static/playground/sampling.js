// How a prompt is continued: the fields, the presets, and what is wrong with what was typed.
import { el } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { meant, spelt } from "../lib/spelt.js";

/** @import {Sampled} from "../lib/facts.js" */
/** @import {Settings} from "../store/runs.js" */

const OWN = "Own";
const USUAL = "Careful";
const SEED_MAX = Number.MAX_SAFE_INTEGER;

/** @param {Sampled} name */
const range = (name) => {
  const [least, most] = facts.limits.sampling[name];
  return { least, most };
};

/** @typedef {{label: string, least: number, most: number, whole?: boolean, tip: string}} Field */
/** @type {Record<string, Field>} */
const FIELDS = {
  temperature: {
    label: "Temperature",
    ...range("temperature"),
    tip: "0 takes the likeliest token",
  },
  top_p: { label: "Top p", ...range("top_p"), least: 0.001, tip: "1 is off" },
  top_k: { label: "Top k", ...range("top_k"), whole: true, tip: "0 is off" },
  min_p: { label: "Min p", ...range("min_p"), tip: "0 is off" },
  repetition_penalty: {
    label: "Repetition penalty",
    ...range("repetition_penalty"),
    tip: "1 is off",
  },
  longest: { label: "Longest", least: 1, most: facts.window, whole: true, tip: "In tokens" },
  seed: { label: "Seed", least: 0, most: SEED_MAX, whole: true, tip: "Empty: another each time" },
};
const SAMPLING = Object.keys(facts.limits.sampling);

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
      if (SAMPLING.includes(name)) preset.value = nameOf();
      why();
      changed();
    },
  });
}
inputs.seed.placeholder = "random";
inputs.seed.disabled = !!facts.limitations.seed;
if (facts.limitations.seed) inputs.seed.title = facts.limitations.seed;

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
const reason = el("p", { className: "why" });

/** The preset that has the values of the fields. */
const nameOf = () =>
  facts.presets.find(({ sampling }) =>
    SAMPLING.every(
      (name) => inputs[name].value !== "" && Number(inputs[name].value) === sampling[name],
    ),
  )?.name ?? OWN;
const why = () => {
  const text = facts.presets.find(({ name }) => name === preset.value)?.why ?? "values of your own";
  reason.textContent = `${text[0].toUpperCase()}${text.slice(1)}.`;
};
/** @param {Record<string, number | null>} sampling */
const fill = (sampling) => {
  for (const name of SAMPLING) if (name in sampling) inputs[name].value = String(sampling[name]);
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
        ...["top_p", "top_k", "min_p", "repetition_penalty"].map((name) =>
          labelled(FIELDS[name].label, inputs[name]),
        ),
        labelled("Stop strings", stops),
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
  return "";
};

/** @returns {Settings} */
export const get = () => ({
  sampling: Object.fromEntries(SAMPLING.map((name) => [name, Number(inputs[name].value)])),
  seed: inputs.seed.value === "" ? null : Number(inputs.seed.value),
  longest: Number(inputs.longest.value),
  count: Number(count.value),
  stop: readStops(stops.value),
});
/** @param {Settings} settings what is not there stays as it is */
export const use = ({ sampling, seed, longest, count: number, stop }) => {
  fill(sampling);
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

const usual = facts.presets.find(({ name }) => name === USUAL)?.sampling ?? {};
fill({ temperature: 0.2, top_p: 0.95, top_k: 0, min_p: 0, repetition_penalty: 1, ...usual });
use({ ...get(), seed: null, longest: 256, count: 1, stop: [] });
