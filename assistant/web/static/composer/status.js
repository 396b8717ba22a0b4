// The line that tells how the open conversation stands, where that is not plain to see: what its reply
// waits for, what went wrong, what can be taken back. Each conversation has its own.
import { button, el } from "../lib/dom.js";

/** @typedef {{text: string, error?: boolean, label?: string, action?: () => unknown}} Line */

const PATIENCE_MS = 700; // before a wait is worth a word

/** @type {Map<string, Line>} */
const lines = new Map(); // by conversation
/** @type {Map<string, number>} */
const timers = new Map();
let open = "";

/** The line. */
export const line = el("div", { id: "chat-status", role: "status", "aria-live": "polite" });

const draw = () => {
  const { text = "", error, label, action } = lines.get(open) ?? {};
  line.classList.toggle("error", !!error);
  line.replaceChildren(...(text ? [el("span", { textContent: text })] : []));
  if (label && action) line.append(button(label, action, { className: "act" }));
};

/** Shows the line of that conversation. @param {string} id */
export const show = (id) => {
  open = id;
  draw();
};

/** @param {string} id @param {Line} [told] */
const tell = (id, told) => {
  clearTimeout(timers.get(id));
  if (told?.text) lines.set(id, told);
  else lines.delete(id);
  if (id === open) draw();
};

/** @param {string} text @param {string} [id] of a conversation, else of the open one */
export const say = (text, id = open) => tell(id, { text });
/** @param {string} text @param {string} [id] */
export const warn = (text, id = open) => tell(id, { text, error: true });
/** What can be taken back. @param {string} text @param {string} label @param {() => unknown} action */
export const offer = (text, label, action, id = open) => {
  const act = () => {
    tell(id);
    action();
  };
  tell(id, { text, label, action: act });
};
/** What is said if it lasts. @param {string} text @param {string} id */
export const soon = (text, id) => {
  clearTimeout(timers.get(id));
  if (!text) return tell(id);
  if (lines.get(id)?.text) return tell(id, { text }); // something is said anyway
  timers.set(
    id,
    window.setTimeout(() => tell(id, { text }), PATIENCE_MS),
  );
};
