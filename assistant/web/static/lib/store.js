// The visitor's conversations, in the browser's own store under fixed keys: they survive a reload, a
// restart of the server and a new version of it. Each change reads what is stored, adds to it and
// writes it back, and what another tab writes is merged in, so that tabs never undo each other.
// Nothing is ever removed unasked: what no longer fits stays in this page, and that is said.
const Store = (() => {
  const CHAT = "tech-assistant/chat/";
  const SETTINGS = "tech-assistant/settings";
  const CHARS_MAX = 4_000_000; // browsers keep about five million characters for a site
  const COUNT_MAX = 300;
  const NEAR = 0.9;

  const records = new Map(); // all of them, as this page knows them
  const sizes = new Map(); // id -> characters in the store
  const unsaved = new Set(); // ids that are newer here than in the store
  const broken = []; // keys of what could not be read; left as it is
  const listeners = [];
  let blocked = false;

  const changed = (id) => listeners.forEach((listener) => listener(id));

  const stored = (id) => {
    const text = localStorage.getItem(CHAT + id);
    return text === null ? null : Records.check(JSON.parse(text));
  };

  const load = () => {
    try {
      for (let at = 0; at < localStorage.length; at++) {
        const key = localStorage.key(at);
        if (!key.startsWith(CHAT)) continue;
        const id = key.slice(CHAT.length);
        sizes.set(id, key.length + localStorage.getItem(key).length);
        try {
          const record = stored(id);
          if (record.id !== id) throw new Error("it has another's id");
          records.set(id, record);
        } catch {
          broken.push(key);
        }
      }
    } catch {
      blocked = true;
    }
  };

  const total = () => [...sizes.values()].reduce((sum, size) => sum + size, 0);

  const write = (record) => {
    const text = JSON.stringify(record);
    const size = CHAT.length + record.id.length + text.length;
    const before = sizes.get(record.id);
    const fits =
      total() - (before ?? 0) + size <= CHARS_MAX &&
      (before !== undefined || sizes.size < COUNT_MAX);
    try {
      if (blocked || !fits) throw new Error("full");
      localStorage.setItem(CHAT + record.id, text);
      sizes.set(record.id, size);
      unsaved.delete(record.id);
    } catch {
      unsaved.add(record.id);
    }
  };

  const latest = (id) => {
    let there = null;
    try {
      there = stored(id);
    } catch {
      // blocked, or broken: what this page knows counts
    }
    return Records.merge(there, records.get(id));
  };

  const keep = (record) => {
    records.set(record.id, record);
    write(record);
    changed(record.id);
  };

  // `edit(record)` changes the newest state of a conversation in place; `fresh` is where it begins.
  const change = (id, edit, fresh) => {
    const record = latest(id) ?? fresh;
    if (!record) return;
    edit(record);
    record.updated = Date.now();
    keep(record);
  };

  // An imported conversation, or one that was deleted; its turns join those that are here.
  const put = (record) => keep(Records.merge(latest(record.id), record));

  const remove = (id) => {
    const record = records.get(id);
    records.delete(id);
    unsaved.delete(id);
    sizes.delete(id);
    try {
      localStorage.removeItem(CHAT + id);
    } catch {
      // nothing was stored
    }
    for (const waiting of [...unsaved]) write(records.get(waiting)); // there is room now
    changed(id);
    return record;
  };

  // What another tab wrote
  addEventListener("storage", (event) => {
    if (event.storageArea !== localStorage || !event.key?.startsWith(CHAT)) return;
    const id = event.key.slice(CHAT.length);
    const mine = records.get(id);
    if (event.newValue === null) {
      sizes.delete(id);
      if (id === Store.open)
        unsaved.add(id); // what is being read does not vanish
      else records.delete(id);
      return changed(id);
    }
    sizes.set(id, event.key.length + event.newValue.length);
    try {
      const theirs = Records.check(JSON.parse(event.newValue));
      const both = Records.merge(theirs, mine);
      records.set(id, both);
      // written at the same moment: the other's did not have what this tab added
      if (Object.keys(both.nodes).length > Object.keys(theirs.nodes).length) write(both);
      changed(id);
    } catch {
      // not ours to judge: this page keeps what it knows
    }
  });

  addEventListener("beforeunload", (event) => unsaved.size && event.preventDefault());

  const settings = () => {
    try {
      return Records.checkSettings(JSON.parse(localStorage.getItem(SETTINGS) ?? "{}"));
    } catch {
      return {};
    }
  };
  const keepSettings = (value) => {
    try {
      localStorage.setItem(SETTINGS, JSON.stringify(value));
    } catch {
      // they hold for this page
    }
  };

  const state = () => {
    const chars = total();
    const part = Math.max(chars / CHARS_MAX, sizes.size / COUNT_MAX);
    return {
      chars,
      part,
      near: part >= NEAR,
      unsaved: unsaved.size,
      blocked,
      broken: broken.length,
    };
  };

  load();
  return {
    CHARS_MAX,
    COUNT_MAX,
    open: null, // the id of the conversation that this tab shows
    get: (id) => records.get(id),
    all: () => [...records.values()].sort((a, b) => b.updated - a.updated),
    change,
    put,
    remove,
    settings,
    keepSettings,
    state,
    isUnsaved: (id) => unsaved.has(id),
    listen: (listener) => listeners.push(listener),
  };
})();
