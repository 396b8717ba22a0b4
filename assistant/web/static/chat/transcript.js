// The transcript's own behaviour: buttons in what the server rendered, and scrolling.
import { find } from "../lib/dom.js";
import { listen } from "../reading/code.js";
import * as turns from "./turns.js";

const area = turns.transcript;
listen(area);

// It stays at its end while text arrives, unless the reader has scrolled away.
let atEnd = true;
const end = () => area.scrollHeight - area.clientHeight;
// Only scrolling up leaves the end: more text may have come since it was scrolled there.
let before = 0;
area.addEventListener("scroll", () => {
  const near = end() - area.scrollTop < 60;
  if (near || area.scrollTop < before) atEnd = near;
  before = area.scrollTop;
});
const stay = () => {
  if (atEnd && find(".turn", area)) area.scrollTop = end();
};
const seen = new ResizeObserver(stay);
seen.observe(area);
seen.observe(turns.log);
/** What comes is read from now on. */
export const toEnd = () => {
  atEnd = true;
  stay();
};
/** What comes does not move what is read. */
export const letGo = () => {
  atEnd = false;
};
area.setAttribute("tabindex", "0");
area.setAttribute("role", "region");
area.setAttribute("aria-label", "Conversation");
