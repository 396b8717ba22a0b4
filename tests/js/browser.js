// What the modules under test need of a browser: import this one first. All of it is in memory.
import { registerHooks } from "node:module";

// A module that was asked for with "?tab=2" has modules of its own, as those of another tab.
registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    const { search } = new URL(context.parentURL ?? "file:///");
    const own = search && found.url.startsWith("file:") && !new URL(found.url).search;
    return own ? { ...found, url: found.url + search } : found;
  },
});

const stand = (name, value) => Object.defineProperty(globalThis, name, { value, writable: true });

// What happens later, each in a turn of its own
let pending = 0;
const later = (action) => {
  pending++;
  setImmediate(() => {
    pending--;
    action();
  });
};
const turn = () => new Promise((resolve) => setImmediate(resolve));
/** Once nothing is under way any more. */
export const quiet = async () => {
  do await turn();
  while (pending);
};

const storage = (values = new Map()) => ({
  room: Infinity, // characters of a value
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
  clear: () => values.clear(),
});
export const localStorage = storage();
export const sessionStorage = storage();
stand("localStorage", localStorage);
stand("sessionStorage", sessionStorage);
stand("location", { origin: "http://localhost:7860", pathname: "/" });
stand("document", { visibilityState: "visible" });

// What the server tells of itself
const FACTS = {
  limits: {
    message: 100_000,
    text: 200_000,
    template: 100_000,
    stops: 64,
    stop: 256,
    sampling: {
      temperature: [0, 2],
      top_p: [0, 1],
      top_k: [0, 1000],
      min_p: [0, 1],
      repetition_penalty: [0.5, 2],
      presence_penalty: [-2, 2],
      frequency_penalty: [-2, 2],
      typical_p: [0, 1],
      dry_multiplier: [0, 10],
      dry_base: [1, 4],
      dry_allowed_length: [1, 50],
    },
  },
  window: 8192,
  templates: [],
  presets: [],
  template: "",
  limitations: {},
  examples: [],
};
stand("fetch", async (url) => {
  if (!String(url).endsWith("/facts")) throw new TypeError(`nothing answers ${url}`);
  return Response.json(FACTS);
});

/**
 * The database: its conversations, and what else it stores. opening: "refused" or "blocked" where it does not open; room: characters
 * of all values; aborts: whether transactions come to nothing; writes: how many put something.
 */
export const disk = {
  rows: new Map(),
  others: { templates: new Map(), runs: new Map() },
  opening: "",
  room: Infinity,
  aborts: false,
  writes: 0,
};
let line = []; // transactions, which wait for each other
let page = 0; // a page that has died is heard of no more

const size = () => JSON.stringify([...disk.rows.values()]).length;
const step = () => {
  const [first] = line;
  if (!first) return;
  first.before ??= new Map(disk.rows);
  const request = first.requests.shift();
  if (request && !first.aborted) {
    try {
      request.result = request.action();
      request.onsuccess?.();
    } catch (error) {
      first.transaction.error = error;
      first.aborted = true;
    }
  } else {
    line.shift();
    if (first.aborted || disk.aborts) {
      disk.rows = first.before;
      first.transaction.onabort();
    } else {
      if (first.wrote) disk.writes++;
      first.transaction.oncomplete();
    }
  }
  if (line.length) later(step);
};

const begin = (name) => {
  const requests = [];
  const entry = { requests, transaction: { error: null, objectStore: () => store } };
  const rows = () => (name === "conversations" ? disk.rows : disk.others[name]);
  const ask = (action) => {
    const request = { action };
    requests.push(request);
    return request;
  };
  const store = {
    get: (key) => ask(() => structuredClone(rows().get(key))),
    getAll: () => ask(() => structuredClone([...rows().values()])),
    delete: (key) => ask(() => void rows().delete(key)),
    put: (value) => {
      const row = structuredClone(value);
      return ask(() => {
        rows().set(row.id, row);
        entry.wrote = true;
        if (size() > disk.room) throw new DOMException("full", "QuotaExceededError");
      });
    },
  };
  line.push(entry);
  if (line.length === 1) later(step);
  return entry.transaction;
};

let closed = 0;
/** The browser closes the connections that there are, and the pages do not hear of it. */
export const disconnect = () => {
  closed++;
};
stand("indexedDB", {
  open: () => {
    const [opener, generation] = [page, closed];
    const request = { error: new DOMException("refused", "UnknownError") };
    request.result = {
      createObjectStore: () => {},
      objectStoreNames: { contains: () => false },
      close: () => {},
      transaction: (name) => {
        if (opener !== page || generation !== closed)
          throw new DOMException("closed", "InvalidStateError");
        return begin(name);
      },
    };
    later(() => {
      if (disk.opening) return disk.opening === "blocked" ? request.onblocked() : request.onerror();
      request.onupgradeneeded();
      request.onsuccess();
    });
    return request;
  },
});

const channels = new Set();
stand(
  "BroadcastChannel",
  class {
    constructor(name) {
      this.name = name;
      channels.add(this);
    }
    postMessage(message) {
      const data = structuredClone(message);
      for (const other of channels) {
        if (other !== this && other.name === this.name)
          later(() => channels.has(other) && other.onmessage?.({ data }));
      }
    }
  },
);

let listeners = [];
stand("addEventListener", (kind, listener) => listeners.push({ kind, listener }));
/** Something happens to all pages. */
export const fire = (kind, event = {}) => {
  for (const { listener } of listeners.filter((each) => each.kind === kind)) listener(event);
};
/** The pages are hidden, or seen again. */
export const look = (visibilityState) => {
  document.visibilityState = visibilityState;
  fire("visibilitychange");
};
/** Whether leaving the page is asked about. */
export const asksBeforeLeaving = () => {
  let asked = false;
  fire("beforeunload", { preventDefault: () => (asked = true) });
  return asked;
};
/** All pages end now, with whatever is under way. */
export const die = () => {
  fire("pagehide");
  listeners = [];
  channels.clear();
  line = [];
  page++;
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
