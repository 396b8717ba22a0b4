// What passes between this page and Gradio: its textboxes, its hidden components, and the moment at
// which it has built an element.
import { find } from "./dom.js";

const TEXT = { childList: true, subtree: true, characterData: true };

/** Fills a Gradio textbox, and clicks its button. @param {string} id @param {unknown} value as JSON */
export const send = (id, value) => {
  const field = find(`#${id} :is(textarea, input)`);
  if (field) {
    Object.assign(field, { value: JSON.stringify(value) });
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
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
const ours = ":is(#chat-page, #continue-page) > *"; // what this page builds by itself
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
