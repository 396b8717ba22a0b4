// The line that tells how the open conversation stands: what its reply is at, what it cost, and what
// went wrong. Each conversation has its own.
import { el } from "../lib/dom.js";

/** @type {Map<string, string>} */
const sentences = new Map(); // by conversation
let open = "";

/** The line. */
export const line = el("p", { id: "chat-status", role: "status", "aria-live": "polite" });

/** Shows the line of that conversation. @param {string} id */
export const show = (id) => {
  open = id;
  line.textContent = sentences.get(id) ?? "";
};

/** @param {string} sentence @param {string} [id] of a conversation, else of the open one */
export const say = (sentence, id = open) => {
  sentences.set(id, sentence);
  if (id === open) line.textContent = sentence;
};
