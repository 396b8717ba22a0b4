// Ways through a long transcript: to its end, to the question before or after, to one turn.
import { button, el } from "../lib/dom.js";
import { letGo, toEnd } from "./transcript.js";
import * as turns from "./turns.js";

const area = turns.transcript;
const FAR = 80; // pixels from the end at which the buttons show
const ABOVE = 12; // pixels between the transcript's edge and a question that was gone to

/** @param {HTMLElement} element in the transcript */
const topOf = (element) => element.getBoundingClientRect().top - area.getBoundingClientRect().top;

/** To the question before (-1) or after (1) what is seen. @param {-1 | 1} way */
export const question = (way) => {
  const all = /** @type {HTMLElement[]} */ ([...turns.log.querySelectorAll(".turn.user")]);
  const to =
    way < 0 ? all.findLast((turn) => topOf(turn) < 0) : all.find((turn) => topOf(turn) > ABOVE + 1);
  if (!to) return way < 0 ? area.scrollTo({ top: 0 }) : toEnd();
  letGo();
  area.scrollBy({ top: topOf(to) - ABOVE });
};

/** Shows a turn, and that it is the one. @param {string} id of a conversation @param {string} nid */
export const reveal = (id, nid) => {
  const element = turns.element(id, nid);
  if (!element) return;
  const show = () => element.scrollIntoView({ block: "center" });
  letGo();
  show();
  requestAnimationFrame(show); // turns that were not drawn before have their heights now
  element.classList.add("found");
  setTimeout(() => element.classList.remove("found"), 2500);
};

const up = button("↑", () => question(-1), {
  title: "The question before (Alt+↑)",
  "aria-label": "To the question before",
});
const down = button("↓", () => toEnd(), {
  title: "To the end",
  "aria-label": "To the end",
  id: "to-end",
});
/** The buttons over the transcript's lower edge. */
export const view = el("div", { id: "jumps", hidden: true }, up, down);

const look = () => {
  view.hidden = area.scrollHeight - area.clientHeight - area.scrollTop < FAR;
};
area.addEventListener("scroll", look, { passive: true });
const seen = new ResizeObserver(look);
seen.observe(area);
seen.observe(turns.log);
