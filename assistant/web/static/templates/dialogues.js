// The written dialogues of a template as cards: turns that are added, moved, given to the other side.
import { button, el, find, need } from "../lib/dom.js";
import { counted, cut } from "../lib/text.js";

/** @typedef {{role: "user" | "assistant", text: string}} Card */
/** @typedef {Card[]} Dialogue */

/** @type {Dialogue[]} */
let dialogues = [];
/** @type {WeakSet<Dialogue>} */
let unfolded = new WeakSet();
/** @type {() => unknown} */
let changed = () => {};
/** @type {(what: string, back: () => unknown) => unknown} */
let removed = () => {};

const list = el("div", { className: "dialogues" });
/** The view. */
export const view = el(
  "section",
  { "aria-label": "Dialogues" },
  list,
  button(
    "Add a dialogue",
    () => {
      const fresh = /** @type {Dialogue} */ ([
        { role: "user", text: "" },
        { role: "assistant", text: "" },
      ]);
      dialogues.push(fresh);
      unfolded.add(fresh);
      draw();
      changed();
      [...list.querySelectorAll("textarea")].at(-2)?.focus();
    },
    { className: "quiet", id: "add-dialogue" },
  ),
);

/** The buttons of each list's items. @type {WeakMap<object, HTMLElement[]>} */
const buttons = new WeakMap();
/**
 * Something of `all` moved, left or came: the focus is on the button of its kind that stands there.
 * @param {object[]} all @param {number} at @param {number} which of the three
 */
const redraw = (all, at, which) => {
  draw();
  const row = buttons.get(all)?.[Math.min(at, all.length - 1)];
  const those = /** @type {HTMLElement[]} */ ([...(row?.children ?? [])]);
  const usable = [those[which], ...those].find((each) => each && !each.matches(":disabled"));
  const place = usable ?? need("#add-dialogue", view);
  const folded = place.closest("details:not([open])");
  (folded ? need("summary", folded) : place).focus();
  changed();
};

/**
 * Buttons that move one of `all` up and down, and take it away.
 * @template {object} T
 * @param {T[]} all @param {number} at @param {string} name
 */
const acts = (all, at, name) => {
  /** @param {number} by */
  const move = (by) => {
    all.splice(at + by, 0, ...all.splice(at, 1));
    redraw(all, at + by, by < 0 ? 0 : 1);
  };
  const remove = () => {
    const [item] = all.splice(at, 1);
    removed(`The ${name} was removed.`, () => {
      all.splice(at, 0, item);
      redraw(all, at, 2);
    });
    redraw(all, at, 2);
  };
  const titled = (/** @type {string} */ label) => ({
    className: "icon",
    "aria-label": label,
    title: label,
  });
  const made = el(
    "span",
    { className: "card-acts" },
    button("↑", () => move(-1), { ...titled(`Move this ${name} up`), disabled: at === 0 }),
    button("↓", () => move(1), {
      ...titled(`Move this ${name} down`),
      disabled: at === all.length - 1,
    }),
    button("✕", remove, titled(`Remove this ${name}`)),
  );
  const row = buttons.get(all) ?? [];
  row[at] = made;
  buttons.set(all, row);
  return made;
};

/** @param {Dialogue} dialogue @param {number} at */
const card = (dialogue, at) => {
  const turn = dialogue[at];
  const side = el("select", {
    "aria-label": "Who says it",
    onchange: () => {
      turn.role = side.value === "user" ? "user" : "assistant";
      block.dataset.role = turn.role;
      changed();
    },
  });
  side.append(
    el("option", { value: "user", textContent: "Message" }),
    el("option", { value: "assistant", textContent: "Reply" }),
  );
  side.value = turn.role;
  const text = el("textarea", {
    value: turn.text,
    rows: 2,
    spellcheck: false,
    "aria-label": "What is said",
    oninput: () => {
      turn.text = text.value;
      changed();
    },
  });
  const block = el(
    "div",
    { className: "turn-card" },
    el("div", { className: "card-head" }, side, acts(dialogue, at, "turn")),
    text,
  );
  block.dataset.role = turn.role;
  return block;
};

/** @param {Dialogue} dialogue @param {number} at */
const section = (dialogue, at) => {
  const first = dialogue[0]?.text.trim().split("\n", 1)[0] ?? "";
  const title = el("span", { className: "title", textContent: cut(first, 70) || "Empty" });
  const turns = el("span", { className: "hint", textContent: counted(dialogue.length, "turn") });
  const folded = el(
    "details",
    { className: "dialogue", open: unfolded.has(dialogue) },
    el(
      "summary",
      {},
      el("span", { className: "number", textContent: String(at + 1) }),
      title,
      turns,
    ),
    ...dialogue.map((_, index) => card(dialogue, index)),
    el(
      "div",
      { className: "card-foot" },
      button(
        "Add a turn",
        () => {
          const role = dialogue.at(-1)?.role === "user" ? "assistant" : "user";
          dialogue.push({ role, text: "" });
          draw();
          changed();
          find(".turn-card:nth-last-child(2) textarea", list.children[at])?.focus();
        },
        { className: "quiet" },
      ),
      el("span", { className: "hint", textContent: "The dialogue:" }),
      acts(dialogues, at, "dialogue"),
    ),
  );
  folded.addEventListener("toggle", () => {
    if (folded.open) unfolded.add(dialogue);
    else unfolded.delete(dialogue);
  });
  return folded;
};

const draw = () => list.replaceChildren(...dialogues.map(section));

/** @param {Dialogue[]} next */
export const show = (next) => {
  if (JSON.stringify(next) === JSON.stringify(dialogues)) return; // what is unfolded stays so
  dialogues = structuredClone(next);
  unfolded = new WeakSet(dialogues.length < 3 ? dialogues : []);
  draw();
};

export const read = () => structuredClone(dialogues);

/**
 * @param {() => unknown} listener called when a person changes something
 * @param {(what: string, back: () => unknown) => unknown} gone called once something was taken away,
 * with what puts it back
 */
export const listen = (listener, gone) => {
  changed = listener;
  removed = gone;
};
