// The prompt library as a small form: choose a template or a question, fill in its values. Nothing is
// sent to the model from here.
import { button, el } from "../lib/dom.js";
import { ask } from "../lib/server.js";

/**
 * @typedef {{name: string, label: string, kind: string, value: string, choices?: string[],
 *   least?: number, most?: number}} Field
 * @typedef {{name: string, title: string, why: string, cannot: string | null, fields: Field[]}} Entry
 * @typedef {{text: string, segments: [string, boolean][]}} Filled
 */

/** @type {{prompt: (filled: Filled) => unknown, chat: (text: string) => unknown}} */
let takers = { prompt: () => {}, chat: () => {} };
/** @param {typeof takers} by prompt: takes a template; chat: takes a question */
export const listen = (by) => {
  takers = by;
};

const choice = el("select", { name: "entry", onchange: () => draw() }, el("option", { value: "" }));
const form = el("form", {
  className: "library-form",
  onsubmit: (/** @type {Event} */ event) => event.preventDefault(),
});
const said = el("p", { className: "fault", role: "alert" });
/** The whole, as a fold. */
export const view = el(
  "details",
  { className: "play-fold", id: "library", ontoggle: () => load() },
  el("summary", { textContent: "Prompt library" }),
  el(
    "div",
    { className: "inside" },
    el(
      "label",
      { className: "field" },
      el("span", { textContent: "Template or question" }),
      choice,
    ),
    form,
    said,
  ),
);

/** @type {Map<string, Entry>} */
const entries = new Map();
/** @type {Set<string>} */
const forChat = new Set();

/** @type {Promise<void> | undefined} */
let loaded;
const load = () => {
  if (view.open && !loaded) loaded = fetchAll();
};
const fetchAll = async () => {
  try {
    const { templates, questions } = await ask("library", {});
    /** @type {[string, Entry[]][]} */
    const shelves = [
      ["Prompts", templates],
      ["Questions for the chat", questions],
    ];
    for (const [label, shelf] of shelves) {
      const group = el("optgroup", { label });
      for (const entry of shelf) {
        entries.set(entry.name, entry);
        group.append(el("option", { value: entry.name, textContent: entry.title }));
      }
      choice.append(group);
    }
    for (const { name } of questions) forChat.add(name);
    said.textContent = "";
  } catch (error) {
    loaded = undefined; // opened again, it asks again
    said.textContent = /** @type {Error} */ (error).message;
  }
};

/** @param {Field} field */
const control = ({ name, kind, value, choices, least, most }) => {
  if (kind === "choice") {
    const options = (choices ?? []).map((text) => el("option", { value: text, textContent: text }));
    return el("select", { name, value }, ...options);
  }
  if (kind === "code") return el("textarea", { name, value, rows: 5, spellcheck: false });
  return el("input", {
    name,
    value,
    inputMode: kind === "number" ? "numeric" : "text",
    title:
      kind === "number" ? `${least?.toLocaleString("en")} to ${most?.toLocaleString("en")}` : "",
  });
};

const draw = () => {
  said.textContent = "";
  const entry = entries.get(choice.value);
  if (!entry) return form.replaceChildren();
  const fields = entry.fields.map((field) => ({ field, input: control(field) }));
  for (const { field, input } of fields) input.value = field.value;
  form.replaceChildren(
    el("p", { className: "why", textContent: entry.cannot ?? entry.why }),
    ...fields.map(({ field, input }) =>
      el("label", { className: "field wide" }, el("span", { textContent: field.label }), input),
    ),
    button(
      forChat.has(entry.name) ? "Put it in the chat" : "Use as prompt",
      () => use(entry, fields),
      {
        className: "plain",
        disabled: !!entry.cannot,
      },
    ),
  );
};

/** @param {Entry} entry @param {{field: Field, input: {value: string}}[]} fields */
const use = async ({ name }, fields) => {
  const values = Object.fromEntries(fields.map(({ field, input }) => [field.name, input.value]));
  try {
    const filled = await ask("library/use", { name, values });
    said.textContent = "";
    view.open = false;
    if (forChat.has(name)) takers.chat(filled.text);
    else takers.prompt(filled);
  } catch (error) {
    said.textContent = /** @type {Error} */ (error).message;
  }
};
