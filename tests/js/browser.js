// What the modules under test need of a browser: import this one first. The store is in memory.

const listeners = new Map();

const storage = (values = new Map()) => ({
  room: Infinity, // characters
  get length() {
    return values.size;
  },
  key: (at) => [...values.keys()][at] ?? null,
  getItem: (key) => values.get(key) ?? null,
  setItem(key, value) {
    if (value.length > this.room) throw new DOMException("full", "QuotaExceededError");
    values.set(key, String(value));
  },
  removeItem: (key) => values.delete(key),
});
export const localStorage = storage();
export const sessionStorage = storage();

const stand = (name, value) => Object.defineProperty(globalThis, name, { value, writable: true });
stand("localStorage", localStorage);
stand("sessionStorage", sessionStorage);
stand("location", { origin: "http://localhost:7860", pathname: "/" });
stand("addEventListener", (kind, listener) => listeners.set(kind, listener));

/** Another tab of this browser wrote that. */
export const fromAnotherTab = (key, newValue) => {
  if (newValue === null) localStorage.removeItem(key);
  else localStorage.setItem(key, newValue);
  listeners.get("storage")({ storageArea: localStorage, key, newValue });
};

/** Whether leaving the page is asked about. */
export const asksBeforeLeaving = () => {
  let asked = false;
  listeners.get("beforeunload")({ preventDefault: () => (asked = true) });
  return asked;
};

/** A conversation as the browser keeps it: messages and replies in turn. */
export const conversation = (number, ...texts) => {
  const hex = (value, digits) => value.toString(16).padStart(digits, "0");
  const nodes = {};
  let parent = null;
  for (const [index, text] of texts.entries()) {
    const nid = `n${hex(number, 4)}${hex(index, 6)}`;
    nodes[nid] = { parent, role: index % 2 ? "assistant" : "user", text };
    parent = nid;
  }
  const time = 1_700_000_000_000 + number;
  const id = `c${hex(number, 8)}`;
  return { v: 1, id, title: texts[0], created: time, updated: time, leaf: parent, nodes };
};
