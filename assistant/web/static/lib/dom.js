// Elements and files to save, for all modules. Text becomes an element's text here, never its HTML.

/** @param {string} selector @param {ParentNode} [root] @returns {HTMLElement | null} */
export const find = (selector, root = document) => root.querySelector(selector);

/**
 * The same for what must be there.
 * @param {string} selector @param {ParentNode} [root] @returns {HTMLElement}
 */
export const need = (selector, root = document) => {
  const element = find(selector, root);
  if (!element) throw new Error(`The page has no ${selector}.`);
  return element;
};

const AT_ONCE = 1_000;

/**
 * Puts nodes behind those of `parent`, however many: a hundred thousand in one call overflow the stack.
 * @param {ParentNode} parent @param {(Node | string)[]} nodes
 */
export const append = (parent, nodes) => {
  for (let at = 0; at < nodes.length; at += AT_ONCE)
    parent.append(...nodes.slice(at, at + AT_ONCE));
};

/**
 * el("p", {className: "x", title: "y"}, "text", otherElement); a null child is left out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [properties] those with a dash, and the role, are attributes
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export const el = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, String(value));
    else Object.assign(element, { [name]: value });
  }
  append(
    element,
    children.filter((child) => child != null),
  );
  return element;
};

/**
 * @param {string} label
 * @param {(event: MouseEvent & {currentTarget: HTMLButtonElement}) => unknown} onclick
 * @param {Record<string, unknown>} [properties]
 */
export const button = (label, onclick, properties = {}) =>
  el("button", { type: "button", textContent: label, onclick, ...properties });

/** The nodes of HTML that the server has made. @param {string} html */
export const nodesOf = (html) => {
  const template = el("template", { innerHTML: html });
  return [...template.content.childNodes];
};

/**
 * Puts nodes in the place of the children from `first` on; what is alike stays.
 * @param {Element} parent @param {number} first @param {ChildNode[]} fresh
 */
export const patch = (parent, first, fresh) => {
  const old = [...parent.childNodes].slice(first);
  let same = 0;
  while (old[same] && fresh[same] && old[same].isEqualNode(fresh[same])) same++;
  const [one, other] = [old[same], fresh[same]];
  if (one instanceof Element && one.cloneNode(false).isEqualNode(other?.cloneNode(false) ?? null)) {
    patch(one, 0, [...other.childNodes]); // a long block of code grows at its end
    same++;
  }
  for (const node of old.slice(same)) node.remove();
  append(parent, fresh.slice(same));
};

/** Whether a key belongs to an input method that composes a text. @param {KeyboardEvent} event */
export const composes = (event) => event.isComposing || event.keyCode === 229;

/** @param {string} name @param {string} type @param {string} text */
export const download = (name, type, text) => {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
};

/** Where the page is no secure context, as under http and an address. @param {string} text */
const copySelected = (text) => {
  const { activeElement } = document;
  const field = el("textarea", {
    value: text,
    className: "sr",
    readOnly: true,
    "aria-hidden": "true",
  });
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (activeElement instanceof HTMLElement) activeElement.focus({ preventScroll: true });
  return copied;
};

/**
 * Copies a text, and says so on the button that was pressed.
 * @param {HTMLElement} pressed @param {string} text
 */
export const copy = async (pressed, text) => {
  pressed.dataset.label ??= pressed.textContent ?? "";
  const { label } = pressed.dataset;
  const copied = navigator.clipboard
    ? await navigator.clipboard.writeText(text).then(
        () => true,
        () => copySelected(text),
      )
    : copySelected(text);
  pressed.textContent = copied ? "Copied" : "Not allowed";
  setTimeout(() => {
    pressed.textContent = label ?? "";
  }, 1500);
};
