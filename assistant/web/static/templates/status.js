// The line that says how the edited template stands, and what can be taken back.
import { button, el } from "../lib/dom.js";

/** The line. */
export const status = el("p", { id: "template-status", role: "status" });

/** @param {string} label @param {() => unknown} act @param {string} [id] */
export const offer = (label, act, id) =>
  status.append(" ", button(label, act, { className: "quiet", ...(id ? { id } : {}) }));

/** @param {string} sentence @param {(() => unknown) | null} [undo] @param {boolean} [bad] */
export const say = (sentence, undo, bad = false) => {
  status.classList.toggle("bad", bad);
  status.replaceChildren(sentence);
  if (!undo) return;
  const back = () => {
    say("");
    undo();
  };
  offer("Undo", back, "template-undo");
};
