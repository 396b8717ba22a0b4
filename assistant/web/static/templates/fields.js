// A template as fields: its markers, its sampling, and the text before a conversation.
import { el } from "../lib/dom.js";
import { rangeOf, SAMPLERS } from "../lib/samplers.js";
import { SAMPLED } from "../lib/settings.js";
import { meant, spelt } from "../lib/spelt.js";
import * as dialogues from "./dialogues.js";

/** @import {Dialogue} from "./dialogues.js" */

/**
 * A template as the server tells it and takes it: see pages/templates/routes.py.
 * @typedef {object} Fields
 * @property {string} name
 * @property {string} user
 * @property {string} assistant
 * @property {string} turn_end
 * @property {string | null} separator
 * @property {string | null} system
 * @property {string[]} stop
 * @property {string | null} [reply_end]
 * @property {string | null} [instructions]
 * @property {string[] | null} [special]
 * @property {boolean} [exact]
 * @property {Record<string, number | null>} sampling
 * @property {string} preamble
 * @property {string} intro
 * @property {Dialogue[] | null} dialogues
 */

/** @type {() => unknown} */
let changed = () => {};

/** @type {Record<string, HTMLInputElement | HTMLTextAreaElement>} */
const inputs = {};
/** @type {Record<string, HTMLElement>} */
const faults = {};

/**
 * @param {"input" | "textarea"} tag @param {string} name @param {string} label
 * @param {Record<string, unknown>} [more] @param {string} [hint]
 */
const field = (tag, name, label, more = {}, hint = "") => {
  const fault = el("span", { className: "fault", id: `template-fault-${name}` });
  faults[name] = fault;
  inputs[name] = el(tag, {
    name,
    oninput: () => changed(),
    spellcheck: false,
    "aria-describedby": fault.id,
    ...more,
  });
  return el(
    "label",
    { className: `field field-${name}` },
    el("span", { textContent: label }),
    inputs[name],
    hint ? el("span", { className: "hint", textContent: hint }) : null,
    fault,
  );
};
/** @param {string} name @param {string} label @param {number} max @param {number | "any"} step */
const number = (name, label, max, step = "any", min = 0) =>
  field("input", name, label, { type: "number", min, max, step, inputMode: "decimal" });

const SAMPLING = [...SAMPLED, "seed"];
const one = el("p", {
  className: "hint",
  textContent:
    "These dialogues are not written as the markers above would write them, so they are shown as one text.",
});
const whole = field("textarea", "preamble", "Text before the conversation", { rows: 14 });
const intro = field("textarea", "intro", "Text before the first dialogue", { rows: 4 });

/** The view. */
export const view = el(
  "div",
  { id: "template-fields", role: "group", "aria-label": "Template as fields" },
  field("input", "name", "Name", { maxLength: 200 }),
  el(
    "div",
    { className: "field-row" },
    field("input", "user", "Before a message", { className: "mono", maxLength: 200 }),
    field("input", "assistant", "Before a reply", { className: "mono", maxLength: 200 }),
    field(
      "input",
      "turn_end",
      "Behind each turn",
      { className: "mono", maxLength: 200 },
      "\\n is a line end",
    ),
    field(
      "input",
      "separator",
      "Behind a dialogue",
      { className: "mono", maxLength: 200 },
      "or nothing",
    ),
  ),
  field(
    "textarea",
    "system",
    "Instructions stand in these words",
    { rows: 2, className: "mono" },
    "{system} is the place of a chat's own instructions; leave it empty where there is none",
  ),
  el(
    "details",
    { className: "more-fields" },
    el("summary", { textContent: "Sampling and stop strings" }),
    el(
      "div",
      { className: "field-row" },
      ...SAMPLED.map((name) => {
        const [least, most] = rangeOf(name);
        const { label, whole } = SAMPLERS[name];
        return number(name, label, most, whole ? 1 : "any", least);
      }),
      number("seed", "Seed", Number.MAX_SAFE_INTEGER, 1),
    ),
    field("textarea", "stop", "Stop strings, one a line", { rows: 2, className: "mono" }),
  ),
  intro,
  dialogues.view,
  one,
  whole,
);

/** @type {Fields | null} */
let shown = null;

/** @param {Fields} fields */
export const show = (fields) => {
  shown = fields;
  for (const name of /** @type {const} */ ([
    "user",
    "assistant",
    "turn_end",
    "separator",
    "system",
  ]))
    inputs[name].value = spelt(fields[name] ?? "");
  for (const name of /** @type {const} */ (["name", "preamble", "intro"]))
    inputs[name].value = fields[name];
  for (const name of SAMPLING) inputs[name].value = String(fields.sampling[name] ?? "");
  inputs.stop.value = fields.stop.map(spelt).join("\n");
  dialogues.show(fields.dialogues ?? []);
  const apart = fields.dialogues !== null;
  one.hidden = whole.hidden = apart;
  intro.hidden = dialogues.view.hidden = !apart;
  mark("");
};

/** What stands in the fields now; null before anything was shown. @returns {Fields | null} */
export const read = () => {
  if (!shown) return null;
  /** @param {string} name */
  const of = (name) => meant(inputs[name].value);
  return {
    ...shown, // what has no field here stays
    name: inputs.name.value,
    user: of("user"),
    assistant: of("assistant"),
    turn_end: of("turn_end"),
    separator: of("separator") || null,
    system: of("system") || null,
    stop: inputs.stop.value.split("\n").filter(Boolean).map(meant),
    sampling: Object.fromEntries(
      SAMPLING.map((name) => {
        const { value } = inputs[name];
        return [name, value.trim() === "" ? null : Number(value)];
      }),
    ),
    preamble: inputs.preamble.value,
    intro: inputs.intro.value,
    dialogues: shown.dialogues && dialogues.read(),
  };
};

/**
 * Says at a field what the server refuses there. Gives whether there is such a field.
 * @param {string} sentence or "" for nothing
 */
export const mark = (sentence) => {
  const name = /stop string/.test(sentence) ? "stop" : /not usable: '?(\w+)/.exec(sentence)?.[1];
  const said = sentence.replace(/^.*not usable: /, "").replace(/^'?\w+'? (?=must|is|may)/, "");
  for (const [each, fault] of Object.entries(faults)) {
    const wrong = each === name;
    fault.textContent = wrong ? said[0]?.toUpperCase() + said.slice(1) : "";
    inputs[each].setAttribute("aria-invalid", String(wrong));
    if (wrong) inputs[each].closest("details")?.setAttribute("open", "");
  }
  return name !== undefined && name in faults;
};

export const focusName = () => {
  inputs.name.focus();
  inputs.name.select();
};

/**
 * @param {() => unknown} listener called when a person changes something
 * @param {(what: string, back: () => unknown) => unknown} removed called once something was taken
 * away, with what puts it back
 */
export const listen = (listener, removed) => {
  changed = listener;
  dialogues.listen(listener, removed);
};
