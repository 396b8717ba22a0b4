// The transcript's own behaviour: the buttons that the server rendered, scrolling, and what a screen
// reader hears.
import { copy, find, need } from "../lib/dom.js";
import { send, whenever } from "../lib/gradio.js";
import { newId } from "../lib/records.js";

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const pressed = /** @type {HTMLElement | null} */ (target.closest?.("button.act"));
  if (!pressed) return;
  if (pressed.classList.contains("act-copy-code")) {
    const code = pressed.closest(".code");
    if (code) copy(pressed, need(".code-text", code).textContent ?? "");
  } else if (pressed.classList.contains("act-example")) {
    const number = [...pressed.classList].find((name) => name.startsWith("number-"));
    send("act", { what: "example", n: newId("q"), number: Number(number?.slice(7)) });
  } else if (/act-(regenerate|continue|edit)/.test(pressed.className)) {
    pinned = true;
  }
});

// The transcript stays at its end while text arrives, unless the reader has scrolled away.
let pinned = true;
/** @param {HTMLElement} area */
const follow = (area) => {
  const end = () => area.scrollHeight - area.clientHeight;
  area.addEventListener("scroll", () => {
    pinned = end() - area.scrollTop < 60;
  });
  const stay = () => {
    if (pinned && find(".turn", area)) area.scrollTop = end();
  };
  new MutationObserver(stay).observe(area, {
    childList: true,
    subtree: true,
    characterData: true,
  });
  new ResizeObserver(stay).observe(area);
  area.setAttribute("tabindex", "0");
  area.setAttribute("role", "region");
  area.setAttribute("aria-label", "Conversation");
};

/** @param {HTMLElement} status */
const speak = (status) => {
  status.setAttribute("role", "status");
  status.setAttribute("aria-live", "polite");
};

whenever("#transcript", follow);
whenever("#message textarea", (box) => {
  if (matchMedia("(hover: hover)").matches) box.focus();
});
whenever("#chat-status", speak);
