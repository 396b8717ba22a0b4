// Light, dark, or as the system is. What is chosen stands on the document, where start.js sees to it
// that the page's colours follow, from its first moment on.
import { el } from "../lib/dom.js";
import { item } from "./menu.js";

const KEY = "tech-assistant/theme"; // start.js reads it as well
const NAMES = { system: "System", light: "Light", dark: "Dark" };
const { dataset } = document.documentElement;

/** @param {string} theme */
const choose = (theme) => {
  dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // it holds as long as this page
  }
};

/** The three to choose from, as a group of a menu. */
export const choice = () =>
  el(
    "div",
    { className: "menu-row", role: "group", "aria-label": "Theme" },
    ...Object.entries(NAMES).map(([theme, label]) =>
      item(label, () => choose(theme), {
        "aria-pressed": String((dataset.theme ?? "system") === theme),
      }),
    ),
  );
