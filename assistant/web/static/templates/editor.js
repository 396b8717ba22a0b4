// The editor of prompt templates: fields and the file's text, each following the other, the prompt in
// tokens beside them, and what can be done with a template.
import { button, download, el, find } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { hear, send, showTab, whenever } from "../lib/gradio.js";
import * as store from "../store/templates.js";
import { begin, listen as follow, now, put, putKept, putServers, settle, text } from "./draft.js";
import * as fields from "./fields.js";
import * as kept from "./kept.js";
import * as preview from "./preview.js";
import { offer, report, say, status } from "./status.js";

/** @import {Told} from "./draft.js" */

/**
 * A template for the chat: one of the server's, or with its text.
 * @typedef {{name: string, toml?: string}} Chosen
 */
/** @type {(chosen: Chosen) => unknown} */
let chosen = () => {};
/** @param {(chosen: Chosen) => unknown} listener called with what is to be tried in the chat */
export const listen = (listener) => {
  chosen = listener;
};

// Where it begins

/** @param {string} value of an option */
const choose = (value) => {
  const [kind, ...name] = value.split(":");
  return kind === "kept" ? putKept(name.join(":")) : putServers(name.join(":"));
};
const beginning = el("select", { id: "template-begin", onchange: () => choose(beginning.value) });
/** @param {string} label @param {[value: string, title: string][]} options */
const group = (label, options) =>
  el(
    "optgroup",
    { label },
    ...options.map(([value, title]) => el("option", { value, textContent: title })),
  );
const list = () => {
  const own = store.kept();
  beginning.replaceChildren(
    group(
      "On this server",
      facts.templates.map(({ name, title }) => [`server:${name}`, title]),
    ),
  );
  if (own.length) {
    const options = own.map(
      ({ id, name }) => /** @type {[string, string]} */ ([`kept:${id}`, name]),
    );
    beginning.append(group("Kept in this browser", options));
  }
  const { kept: id, by } = now.draft;
  beginning.value = id ? `kept:${id}` : `server:${by}`;
};

// The two views

const file = el(
  "div",
  { id: "template-file", hidden: true },
  text,
  el("p", {
    className: "hint",
    textContent: "TOML, as prompts/README.md explains. Comments leave once a field is changed.",
  }),
);
const views = {
  fields: button("Fields", () => view(true), { "aria-pressed": "true" }),
  toml: button("TOML", () => view(false), { "aria-pressed": "false" }),
};
/** @param {boolean} asFields */
const view = async (asFields) => {
  await settle();
  const readable = now.typed || (now.told && !now.told.error);
  const shown = asFields && !!readable; // else there are no fields to show
  fields.view.hidden = !shown;
  file.hidden = shown;
  views.fields.setAttribute("aria-pressed", String(shown));
  views.toml.setAttribute("aria-pressed", String(!shown));
  explain(now.told);
};

/** Says what is wrong, at the field or at the line. @param {Told | null} told */
const explain = (told) => {
  if (!told) return;
  const { error = "", note } = told;
  const there = fields.mark(error) && !fields.view.hidden;
  if (error) report(there ? "A field is not usable yet." : error, true);
  else if (note) report(note, true);
  else if (status.classList.contains("bad")) report("");
  text.setAttribute("aria-invalid", String(!!error));
  const line = Number(/line (\d+)/.exec(error)?.[1]);
  if (!line || file.hidden) return;
  offer(`Go to line ${line}`, () => {
    const lines = text.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    text.focus();
    text.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  });
};

// What is done with a template

/** @param {(template: Told) => unknown} action */
const withTemplate = (action) => async () => {
  await settle();
  if (now.told && !now.told.error) await action(now.told);
};

const tryIt = withTemplate(({ toml, fields: { name } }) => {
  const { by, from } = now.draft;
  chosen(by !== null && toml === from ? { name: by } : { name, toml });
});

const save = withTemplate(async ({ toml, fields: { name } }) => {
  try {
    const { id, versions } = await store.save(name, toml, now.draft.kept);
    now.draft = { toml, from: toml, by: null, kept: id };
    list();
    const version = versions.length > 1 ? `, version ${versions.length}` : "";
    if (store.lasts()) say(`“${name}” is kept in this browser${version}.`);
    else say("The browser's store is blocked or full: kept until this page is closed.", null, true);
  } catch (error) {
    say(/** @type {Error} */ (error).message, null, true);
  }
});

/** A name for a file in prompts/. @param {string} name */
export const fileName = (name) =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "") || "prompt";

const saveToml = withTemplate(({ toml, fields: { name } }) =>
  download(`${fileName(name)}.toml`, "application/toml", toml),
);
const saveJinja = withTemplate(({ jinja }) => download("chat_template.jinja", "text/plain", jinja));
const compare = withTemplate(({ toml }) => send("add-template", toml));

const acts = [
  button("Try in the chat", tryIt, { className: "main", id: "template-try" }),
  button("Save", save, { id: "template-save", title: "Keeps it in this browser" }),
  button("Save as TOML", saveToml, { id: "save-toml", title: "A file for the folder prompts/" }),
  button("Save as Jinja", saveJinja, {
    id: "save-jinja",
    title: "A chat template for other servers",
  }),
  button("Add to the comparison", compare, { id: "template-add" }),
];

const page = [
  el(
    "div",
    { className: "template-top" },
    el("label", { className: "field" }, el("span", { textContent: "Begin with" }), beginning),
    el(
      "div",
      { className: "views", role: "group", "aria-label": "Shown as" },
      views.fields,
      views.toml,
    ),
    el("div", { className: "template-acts" }, ...acts),
  ),
  status,
  el(
    "div",
    { className: "template-sides" },
    el("div", { className: "template-form" }, fields.view, file),
    preview.view,
  ),
  kept.view,
];

follow((told) => {
  for (const each of acts) each.disabled = !told || !!told.error;
  if (told && !told.error) preview.show(told);
  else if (!now.typed) view(false);
  explain(told);
  list();
});
store.listenKept(list);
kept.start({
  put: (toml, id, what) => put({ toml, from: toml, by: null, kept: id }, what),
  rename: async ({ id }) => {
    if (now.draft.kept !== id) await putKept(id);
    await view(true);
    fields.focusName();
    report("Change the name, then save.");
  },
  say,
});
hear("added-template", ({ sentence, bad }) => say(sentence, null, bad));

/** @type {Promise<void> | undefined} */
let begun;
const start = () => {
  begun ??= begin();
  return begun;
};
whenever("#template-page", (place) => {
  place.replaceChildren(...page);
  start();
});

/** Shows this tab, which Gradio builds a moment after those above it. @param {number} [tries] */
const reach = (tries = 120) => {
  if (find("#template-page")?.offsetParent || !tries) return;
  showTab("Template");
  requestAnimationFrame(() => reach(tries - 1));
};

/**
 * Shows the editor with the template of a chat; what is edited of it already stays.
 * @param {Chosen} template
 */
export const open = async ({ name, toml }) => {
  showTab("Playground");
  reach();
  await start();
  await settle();
  const { draft } = now;
  if (toml === undefined ? draft.by === name : draft.toml === toml || draft.from === toml) return;
  if (toml === undefined) return putServers(name);
  const own = store.kept().find((each) => store.newest(each).toml === toml);
  await put({ toml, from: toml, by: null, kept: own?.id ?? null });
};
