// How replies are asked for: the prompt template, the sampling that people change, what happens when
// the window is full. They belong to the open conversation; a new one begins with the last used.
import { button, el, find } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { choose } from "../lib/settings.js";
import * as store from "../store/store.js";
import { say } from "./status.js";

/** @import {Settings} from "../lib/settings.js" */

/** @typedef {Event & {currentTarget: HTMLInputElement}} Typed */

let values = store.settings();
/** @type {(settings: Settings) => unknown} */
let changed = () => {};

/** @param {string} label @param {HTMLElement} control */
const field = (label, control) =>
  el("label", { className: "field" }, el("span", { textContent: label }), control);
/** @param {keyof Settings} name @param {Record<string, unknown>} properties */
const input = (name, properties) =>
  el("input", {
    type: "number",
    step: "any",
    oninput: (/** @type {Typed} */ { currentTarget: typed }) => {
      if (typed.checkValidity()) set(name, typed.value);
    },
    onchange: (/** @type {Typed} */ { currentTarget: typed }) => typed.reportValidity(),
    name,
    ...properties,
  });

const controls = {
  template: el("select", {
    name: "template",
    onchange: () => set("template", controls.template.value),
  }),
  temperature: input("temperature", { min: 0, max: 2 }),
  max_new_tokens: input("max_new_tokens", { min: 1, step: 1 }),
  seed: input("seed", { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, placeholder: "random" }),
  keep_all: el("input", {
    type: "checkbox",
    name: "keep_all",
    onchange: () => set("keep_all", controls.keep_all.checked),
  }),
};
/** The fields. */
export const panel = el(
  "div",
  { id: "settings", hidden: true, role: "group", "aria-label": "Settings" },
  field("Prompt template", controls.template),
  field("Temperature", controls.temperature),
  field("Longest reply", controls.max_new_tokens),
  field("Seed", controls.seed),
  el(
    "label",
    { className: "field check" },
    controls.keep_all,
    el("span", { textContent: "Refuse a message rather than leave earlier turns out" }),
  ),
);
/** The button that shows and hides them. */
export const toggle = button("Settings", () => open(panel.hidden === true), {
  id: "settings-button",
  "aria-expanded": "false",
  "aria-controls": "settings",
});
/** @param {boolean} shown */
const open = (shown) => {
  panel.hidden = !shown;
  toggle.setAttribute("aria-expanded", String(shown));
};

/** @param {keyof Settings} name @param {string | boolean} value */
const set = (name, value) => {
  values = choose(values, name, value, facts.template);
  hint();
  store.keepSettings(values);
  changed(values);
};

// What holds where nothing is chosen
const hint = () => {
  const chosen = values.template ?? facts.template;
  const template = facts.templates.find(({ name }) => name === chosen);
  if (!template) return;
  controls.temperature.placeholder = String(template.temperature);
  controls.max_new_tokens.placeholder = String(facts.max_new_tokens);
  const chip = find("#template-chip");
  if (chip) chip.textContent = `Prompt: ${template.title}`;
};
/** Whether the server has a prompt template of that name. @param {string} name */
export const knows = (name) => facts.templates.some((template) => template.name === name);

/** Shows `next`, those of a conversation that was opened. @param {Settings} next */
export const use = (next) => {
  values = { ...next };
  if (values.template !== undefined && !knows(values.template)) {
    say(`The prompt template ${values.template} is not on this server; another is used.`);
    delete values.template;
  }
  for (const name of /** @type {const} */ (["temperature", "max_new_tokens", "seed"]))
    controls[name].value = String(values[name] ?? "");
  controls.template.value = values.template ?? facts.template;
  controls.max_new_tokens.max = String(facts.window);
  controls.keep_all.checked = !!values.keep_all;
  hint();
};

const { seed } = facts.limitations;
controls.seed.disabled = !!seed;
controls.seed.title = seed ?? "";
controls.template.append(
  ...facts.templates.map(({ name, title }) => el("option", { value: name, textContent: title })),
);

export const get = () => values;
/** @param {(settings: Settings) => unknown} listener called when a person changes one */
export const listen = (listener) => {
  changed = listener;
};
