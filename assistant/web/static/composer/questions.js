// Saved questions at the message box: "/" in an empty box lists them, letters narrow the list, and one
// with blanks to fill shows a small form. The text goes into the box; nobody sends it but the person.
import { button, composes, el } from "../lib/dom.js";
import { ask } from "../lib/server.js";
import { counted } from "../lib/text.js";
import * as box from "./box.js";
import { warn } from "./status.js";

/**
 * @typedef {object} Blank
 * @property {string} name
 * @property {string} label
 * @property {string} kind
 * @property {string[]} [choices]
 * @property {string} value
 */
/** @typedef {{name: string, title: string, fields: Blank[]}} Question */

/** @type {Promise<Question[]> | undefined} */
let library;
const load = () => {
  library ??= ask("library", {}).then(({ questions }) => questions);
  library.catch(() => {
    library = undefined; // it is asked for again
  });
  return library;
};

const list = el("ul", { id: "questions-list", role: "listbox", "aria-label": "Saved questions" });
/** What unfolds over the box. */
const spoken = el("p", { className: "sr", role: "status" });
export const view = el("div", { id: "questions", hidden: true }, list, spoken);
box.view.prepend(view);
let chosen = 0;
/** @type {Question[]} */
let found = [];

const close = () => {
  view.hidden = true;
  view.replaceChildren(list, spoken);
  box.field.removeAttribute("aria-controls");
  box.field.removeAttribute("aria-activedescendant");
};
const mark = () => {
  [...list.children].forEach((item, index) => {
    item.setAttribute("aria-selected", String(index === chosen));
    if (index === chosen) item.scrollIntoView({ block: "nearest" });
  });
  if (found.length) box.field.setAttribute("aria-activedescendant", `question-${chosen}`);
};
/** @param {string} letters */
const show = async (letters) => {
  let all;
  try {
    all = await load();
  } catch (error) {
    return warn(/** @type {Error} */ (error).message);
  }
  if (letters && !box.text().startsWith("/")) return; // meanwhile something else was typed
  const wanted = letters.trim().toLowerCase();
  found = all.filter(({ title }) => title.toLowerCase().includes(wanted));
  chosen = 0;
  list.replaceChildren(
    ...found.map((question, index) =>
      el("li", {
        id: `question-${index}`,
        role: "option",
        textContent: question.title,
        onclick: () => fill(question),
      }),
    ),
  );
  if (!found.length) list.append(el("li", { className: "none", textContent: "No saved question" }));
  view.hidden = false;
  box.field.setAttribute("aria-controls", "questions-list");
  spoken.textContent = `${counted(found.length, "saved question")}; the arrow keys choose`;
  mark();
};

/** @param {Question} question @param {Record<string, string>} values */
const put = async ({ name }, values) => {
  const [of, was] = [box.of(), box.text()];
  try {
    const { text } = await ask("library/use", { name, values });
    if (box.of() !== of) return; // another conversation was opened meanwhile
    close();
    const draft = box.text() === was && was.startsWith("/") ? "" : box.text();
    box.put([draft, text].filter(Boolean).join("\n\n"));
    box.changed();
    box.focus();
  } catch (error) {
    warn(/** @type {Error} */ (error).message);
  }
};
/** @param {Question} question */
const fill = (question) => {
  if (!question.fields.length) return put(question, {});
  const controls = question.fields.map(({ name, label, kind, choices, value }) => {
    /** @type {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} */
    let control;
    if (choices) {
      control = el("select", {}, ...choices.map((each) => el("option", { textContent: each })));
    } else control = kind === "code" ? el("textarea", { rows: 4 }) : el("input", { type: "text" });
    control.name = name;
    control.value = value;
    return {
      control,
      label: el("label", { className: "field" }, el("span", { textContent: label }), control),
    };
  });
  const form = el(
    "form",
    {
      id: "question-form",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        put(
          question,
          Object.fromEntries(controls.map(({ control }) => [control.name, control.value])),
        );
      },
    },
    el("p", { textContent: question.title }),
    ...controls.map(({ label }) => label),
    el(
      "div",
      { className: "edit-acts" },
      el("button", { type: "submit", className: "edit-done", textContent: "Put into the box" }),
      button("Cancel", close, { className: "act" }),
    ),
  );
  view.replaceChildren(form);
  controls[0].control.focus();
};
view.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || composes(event)) return;
  event.stopPropagation();
  close();
  box.focus();
});

/** Lists them all. */
export const open = () => {
  box.focus();
  show("");
};
box.listenLeft(close);
box.field.addEventListener("input", () => {
  const [, letters] = box.text().match(/^\/([^\n/]{0,60})$/) ?? [];
  if (letters !== undefined) show(letters);
  else close();
});
box.field.addEventListener(
  "keydown",
  (event) => {
    if (view.hidden || composes(event)) return;
    const { key } = event;
    if (key === "ArrowDown" || key === "ArrowUp") {
      chosen = (chosen + (key === "ArrowDown" ? 1 : found.length - 1)) % (found.length || 1);
      mark();
    } else if ((key === "Enter" || key === "Tab") && found[chosen]) fill(found[chosen]);
    else if (key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  },
  true,
);
