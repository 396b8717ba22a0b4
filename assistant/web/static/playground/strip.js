// What the prompt is for the model: how many tokens, which special ones; on demand each with its id.
import { el } from "../lib/dom.js";
import { ask } from "../lib/server.js";
import { counted } from "../lib/text.js";
import * as editor from "./editor.js";
import { toSegments } from "./raw.js";

const PAUSE_MS = 150; // after a key
const HEAD_LEAST = 200; // characters that are worth folding

/** @type {() => unknown} */
let changed = () => {};
/** @param {() => unknown} listener called when a person changes how special tokens are read */
export const listen = (listener) => {
  changed = listener;
};

const literal = el("input", { type: "checkbox", name: "literal", onchange: () => turned() });
const ids = el("input", { type: "checkbox", name: "ids", onchange: () => look() });
const line = el("p", { id: "strip", className: "strip" });
const pieces = el("div", {
  className: "pieces",
  hidden: true,
  tabIndex: 0,
  role: "group",
  "aria-label": "Tokens and ids",
});
/** The line and its switches. */
export const view = el(
  "div",
  { className: "strip-row" },
  line,
  el("label", { className: "check" }, literal, "Read special tokens as text"),
  el("label", { className: "check" }, ids, "Show tokens and ids"),
  pieces,
);
const turned = () => {
  look();
  changed();
};

/** Whether special tokens that the prompt spells are read as text. */
export const isLiteral = () => literal.checked;
/** @param {boolean} yes */
export const setLiteral = (yes) => {
  literal.checked = yes;
};

/** @param {string} text */
const chip = (text) => el("span", { className: "special", textContent: text });
/** @param {string} text */
const marks = (text) =>
  text.replaceAll(" ", "·").replaceAll("\n", "⏎").replaceAll("\t", "⇥") || "…";

/** @param {{count: number, special: [string, number][], alike: number, pieces: [string, number, boolean][]}} told */
const show = ({ count, special, alike, pieces: listed }) => {
  const all = special.reduce((sum, [, number]) => sum + number, 0);
  line.replaceChildren(counted(count, "token"));
  if (all) {
    line.append(` · ${all} special: `);
    for (const [text, number] of special)
      line.append(chip(text), number > 1 ? ` × ${number} ` : " ");
  }
  if (alike)
    line.append(
      ` · ${alike} that ${alike === 1 ? "looks special and stays" : "look special and stay"} text`,
    );
  pieces.hidden = !listed.length;
  pieces.replaceChildren(
    ...listed.flatMap(([text, id, isSpecial]) => [
      el(
        "span",
        { className: `piece${isSpecial ? " special" : ""}` },
        marks(text),
        el("small", { textContent: String(id) }),
      ),
      "\n".repeat(text.split("\n").length - 1),
    ]),
  );
  const more = count - listed.length;
  if (listed.length && more) pieces.append(`and ${more.toLocaleString("en")} more`);
};

let [looking, again] = [false, false];
/** Asks what the prompt is now, one question at a time. */
export const look = async () => {
  again = true;
  if (looking) return;
  looking = true;
  while (again) {
    again = false;
    const segments = toSegments(editor.get().raw);
    try {
      show(await ask("look", { segments, special: !literal.checked, pieces: ids.checked }));
    } catch (error) {
      line.textContent = /** @type {Error} */ (error).message;
      pieces.hidden = true;
    }
  }
  looking = false;
};
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
/** The same once nobody types any more. */
export const lookSoon = () => {
  clearTimeout(timer);
  timer = setTimeout(look, PAUSE_MS);
};

/** How much of a prompt of the chat is its template. @param {[string, boolean][]} segments */
export const headOf = ([first]) => {
  const end = first?.[1] ? first[0].lastIndexOf("\n") + 1 : 0;
  return end < HEAD_LEAST ? 0 : end;
};
/** Says how long the folded part is. */
export const lookAtHead = async () => {
  const { raw, head } = editor.get();
  if (!head) return;
  editor.sayFold("Template, folded · show it");
  const told = await ask("look", { segments: [[raw.text.slice(0, head), true]] }).catch(() => null);
  if (told) editor.sayFold(`Template, ${counted(told.count, "token")}, folded · show it`);
};
