// The line that says how the edited template stands, and what can be taken back.
import { button, el } from "../lib/dom.js";

/** The line. */
export const status = el("p", { id: "template-status", role: "status" });

/** @param {string} label @param {() => unknown} act @param {string} [id] */
export const offer = (label, act, id) =>
  status.append(" ", button(label, act, { className: "quiet", ...(id ? { id } : {}) }));

/** What can be taken back, and the sentence on it. @type {{sentence: string, undo: () => unknown} | null} */
let standing = null;

/** @param {string} sentence @param {boolean} bad */
const show = (sentence, bad) => {
  status.classList.toggle("bad", bad);
  status.replaceChildren(sentence);
  if (!standing) return;
  const { sentence: what, undo } = standing;
  const back = () => {
    say("");
    undo();
  };
  offer("Undo", back, "template-undo");
  const last = status.lastElementChild;
  if (last instanceof HTMLElement) last.title = what;
};

/**
 * Something was done; what could be taken back before cannot be any more.
 * @param {string} sentence @param {(() => unknown) | null} [undo] @param {boolean} [bad]
 */
export const say = (sentence, undo, bad = false) => {
  standing = undo ? { sentence, undo } : null;
  show(sentence, bad);
};
/** How it stands now, beside what can still be taken back. @param {string} sentence @param {boolean} [bad] */
export const report = (sentence, bad = false) => show(sentence || (standing?.sentence ?? ""), bad);
/** What was taken away has no place any more. */
export const forget = () => {
  if (standing) say("");
};
