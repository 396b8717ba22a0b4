// What passes between this page and Gradio: its textboxes, its hidden components, and the moment at
// which it has built an element.
import { find } from "./dom.js";

const TEXT = { childList: true, subtree: true, characterData: true };

/**
 * A Gradio textbox: its new value reaches the server with the next event.
 * @param {string} id
 * @returns {HTMLTextAreaElement | HTMLInputElement | null}
 */
export const box = (id) => document.querySelector(`#${id} :is(textarea, input)`);

/** What stands in a textbox. @param {string} id */
export const filled = (id) => box(id)?.value ?? "";

/** @param {string} id @param {string} value */
export const fill = (id, value) => {
  const field = box(id);
  if (!field || field.value === value) return;
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};

/** @param {string} id @param {unknown} value sent as JSON */
export const send = (id, value) => {
  fill(id, JSON.stringify(value));
  find(`#${id}-go`)?.click();
};

/** @type {{selector: string, action: (element: HTMLElement) => unknown, last?: HTMLElement}[]} */
const waiting = [];
const look = () => {
  for (const wanted of waiting) {
    const element = find(wanted.selector);
    if (!element || element === wanted.last) continue;
    wanted.last = element;
    wanted.action(element);
  }
};
const ours = "#chat-page > *"; // what this page builds by itself
new MutationObserver((changes) => {
  if (changes.some(({ target }) => !(/** @type {Element} */ (target).closest?.(ours)))) look();
}).observe(document.documentElement, { childList: true, subtree: true });

/**
 * Once for each element that comes to match, also when Gradio builds the page anew.
 * @param {string} selector @param {(element: HTMLElement) => unknown} action
 */
export const whenever = (selector, action) => {
  waiting.push({ selector, action });
  setTimeout(look); // at what is there already, once the module that asks has run
};

/**
 * What the server says through the hidden component with this id: see doors.py.
 * @param {string} id
 * @param {(data: any) => unknown} action
 */
export const hear = (id, action) =>
  whenever(`#${id}`, (element) => {
    let heard = "";
    const read = () => {
      const text = find(".data", element)?.textContent ?? "";
      if (!text || text === heard) return;
      heard = text;
      action(JSON.parse(text));
    };
    new MutationObserver(read).observe(element, TEXT);
    read();
  });

/** Shows one of the page's tabs. @param {string} name */
export const showTab = (name) => {
  for (const tab of document.querySelectorAll('[role="tab"]')) {
    if (tab instanceof HTMLElement && tab.textContent?.trim() === name) return tab.click();
  }
};
