// How replies are asked for: instructions, the prompt template, sampling, what happens when the window
// is full. They belong to the open conversation; a new one begins with the last used.
import { button, el, find } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { RARE, rangeOf, readBias, SAMPLERS, USUAL, whyNot, writeBias } from "../lib/samplers.js";
import { choose, SAMPLED } from "../lib/settings.js";
import * as store from "../store/store.js";
import { warn } from "./status.js";

/** @import {Sampled} from "../lib/facts.js" */
/** @import {Settings} from "../lib/settings.js" */
/** @typedef {{name: string, text: string}} Own a template that the browser keeps */
/** @typedef {Event & {currentTarget: HTMLInputElement}} Typed */

const TEMPLATES_OWN = "The template's own";
const OWN = "Own";

let values = store.settings();
/** @type {Own[]} */
let own = [];
/** @type {(settings: Settings) => unknown} */
let changed = () => {};

/** @param {string} label @param {HTMLElement} control @param {string} [kind] */
const field = (label, control, kind = "") =>
  el("label", { className: `field ${kind}` }, el("span", { textContent: label }), control);
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
/** @param {Sampled} name */
const sampled = (name) => {
  const [min, max] = rangeOf(name);
  const { tip, whole } = SAMPLERS[name];
  const no = whyNot(name);
  return input(name, { min, max, title: no || tip, disabled: !!no, ...(whole && { step: 1 }) });
};

const instructions = el("textarea", {
  name: "system",
  rows: 2,
  maxLength: facts.limits.message,
  placeholder: "For example: answer briefly; use Python 3.12",
  oninput: () => set("system", instructions.value),
});
const why = el("p", { className: "why" });
const template = el("select", { name: "template", onchange: () => pick(template.value) });
const preset = el("select", { name: "preset", onchange: () => prefer(preset.value) });
const numbers = {
  .../** @type {Record<Sampled, HTMLInputElement>} */ (
    Object.fromEntries(SAMPLED.map((name) => [name, sampled(name)]))
  ),
  max_new_tokens: input("max_new_tokens", { min: 1, max: facts.window, step: 1 }),
  seed: input("seed", { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, placeholder: "random" }),
};
const bias = el("input", {
  name: "logit_bias",
  placeholder: "token id: bias, ...",
  disabled: !!whyNot("logit_bias"),
  title: whyNot("logit_bias") || "Added to the logits of these tokens, from -100 to 100",
  oninput: () => {
    const right = readBias(bias.value) !== null;
    bias.setCustomValidity(right ? "" : "Write 12: 3.5, 99: -100");
    if (right) set("logit_bias", bias.value);
  },
  onchange: () => bias.reportValidity(),
});
const NUMBERS = /** @type {(keyof typeof numbers)[]} */ (Object.keys(numbers));
const keepAll = el("input", {
  type: "checkbox",
  name: "keep_all",
  onchange: () => set("keep_all", keepAll.checked),
});
/** The fields. */
export const panel = el(
  "div",
  { id: "settings", hidden: true, role: "group", "aria-label": "Settings" },
  field("Instructions for this chat", instructions, "wide"),
  why,
  field("Prompt template", template, "half"),
  field("Sampling", preset, "half"),
  field(SAMPLERS.temperature.label, numbers.temperature),
  field("Longest reply", numbers.max_new_tokens),
  field("Seed", numbers.seed),
  ...USUAL.map((name) => field(SAMPLERS[name].label, numbers[name])),
  el(
    "details",
    { className: "rare wide" },
    el("summary", { textContent: "More samplers" }),
    el(
      "div",
      { className: "fields" },
      ...RARE.map((name) => field(SAMPLERS[name].label, numbers[name])),
      field("Bias of tokens", bias, "wide"),
    ),
  ),
  el(
    "label",
    { className: "field check wide" },
    keepAll,
    el("span", { textContent: "Refuse a message rather than leave earlier turns out" }),
  ),
);
/** The button that shows and hides them. */
export const toggle = button("Settings", () => open(panel.hidden === true), {
  id: "settings-button",
  title: "Instructions, template, sampling",
  "aria-expanded": "false",
  "aria-controls": "settings",
});
/** @param {boolean} shown */
const open = (shown) => {
  panel.hidden = !shown;
  toggle.setAttribute("aria-expanded", String(shown));
};

/** @param {Settings} next @param {boolean} [typing] whether one is being typed */
const change = (next, typing = false) => {
  values = next;
  show(typing);
  store.keepSettings({ ...values, system: undefined }); // those are for this conversation
  changed(values);
};
/** @param {keyof Settings} name @param {string | boolean} value */
const set = (name, value) => change(choose(values, name, value, facts.template), true);
/** @param {string} value of the list of templates */
const pick = (value) => {
  const kept = own[Number(value.slice(1))];
  if (!value.startsWith("/")) set("template", value);
  else if (kept) change({ ...values, template: kept.name, template_text: kept.text });
};
/** @param {string} name of a preset, or "" */
const prefer = (name) => {
  const found = facts.presets.find((each) => each.name === name);
  const next = { ...values };
  for (const each of SAMPLED) {
    if (found) next[each] = found.sampling[each] ?? undefined;
    else delete next[each];
  }
  change(next);
};

const templateOf = () =>
  facts.templates.find(({ name }) => name === (values.template ?? facts.template));
// What holds where nothing is chosen
const show = (typing = false) => {
  const typed = typing ? document.activeElement : null;
  const known = values.template_text === undefined ? templateOf() : undefined;
  const usual = known?.sampling ?? facts.presets[0]?.sampling ?? {};
  for (const name of NUMBERS) {
    const control = numbers[name];
    if (control !== typed) control.value = String(values[name] ?? "");
    if (name !== "seed" && name !== "max_new_tokens")
      control.placeholder = known ? String(usual[name]) : "as in the template";
  }
  numbers.max_new_tokens.placeholder = String(facts.max_new_tokens);
  if (bias !== typed) bias.value = writeBias(values.logit_bias ?? []);
  if (instructions !== typed) instructions.value = values.system ?? "";
  keepAll.checked = !!values.keep_all;
  const chosen = SAMPLED.some((name) => values[name] !== undefined);
  const same = facts.presets.find(({ sampling }) =>
    SAMPLED.every((name) => (values[name] ?? usual[name]) === sampling[name]),
  );
  preset.value = chosen ? (same?.name ?? OWN) : "";
  preset.title = chosen ? (same?.why ?? "") : "";
  const at = own.findIndex(({ text }) => text === values.template_text);
  const other = values.template_text !== undefined && at < 0;
  template.replaceChildren(
    ...facts.templates.map(({ name, title }) => el("option", { value: name, textContent: title })),
    ...own.map(({ name }, index) =>
      el("option", { value: `/${index}`, textContent: `${name} (yours)` }),
    ),
    ...(other
      ? [el("option", { value: "/", textContent: `${values.template} (this chat's)` })]
      : []),
  );
  template.value = at >= 0 ? `/${at}` : other ? "/" : (values.template ?? facts.template);
  const place = known?.instructions ?? true;
  instructions.disabled = !place && !values.system;
  why.textContent = place
    ? ""
    : `The template ${known?.title} has no place for instructions; choose another one.`;
  why.hidden = place;
  toggle.classList.toggle("chosen", !!values.system);
  const chip = find("#template-chip");
  if (chip) chip.textContent = `Prompt: ${known?.title ?? values.template}`;
};
/** Whether the server has a prompt template of that name. @param {string} name */
export const knows = (name) => facts.templates.some((each) => each.name === name);

/** Shows `next`, those of a conversation that was opened. @param {Settings} next */
export const use = (next) => {
  values = { ...next };
  const { template: name, template_text: text } = values;
  if (name !== undefined && text === undefined && !knows(name)) {
    warn(`The prompt template ${name} is not on this server; another is used.`);
    delete values.template;
  }
  show();
};
/** A person chooses all of these elsewhere, as in the editor of templates. @param {Settings} next */
export const take = (next) => change({ ...next });
/** @param {Own[]} templates that can be chosen, too */
export const offer = (templates) => {
  own = templates;
  show();
};

const { seed } = facts.limitations;
numbers.seed.disabled = !!seed;
numbers.seed.title = seed ?? "";
preset.append(
  el("option", { value: "", textContent: TEMPLATES_OWN }),
  ...[...facts.presets.map(({ name }) => name), OWN].map((name) =>
    el("option", { value: name, textContent: name, disabled: name === OWN }),
  ),
);

export const get = () => values;
/** @param {(settings: Settings) => unknown} listener called when a person changes one */
export const listen = (listener) => {
  changed = listener;
};
