// The browser's own database as promises: stores of values, each under its `id`. Whatever it
// refuses, and however, is a rejected promise; a connection that it closed is opened again.
const NAME = "tech-assistant";
const VERSION = 2;

/** @typedef {"conversations" | "templates" | "runs"} Store */

/** @type {Store[]} */
const STORES = ["conversations", "templates", "runs"];

/** @type {Promise<IDBDatabase> | undefined} */
let opened;

/** @returns {Promise<IDBDatabase>} */
const open = () =>
  new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      const { result } = request;
      for (const name of STORES)
        if (!result.objectStoreNames.contains(name))
          result.createObjectStore(name, { keyPath: "id" });
    };
    request.onblocked = () => reject(new Error("another page holds the database"));
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const database = request.result;
      database.onversionchange = () => database.close(); // a later version may have it
      resolve(database);
    };
  });

/**
 * One transaction; resolves once it has ended well.
 * @template T
 * @param {Store} name
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} ask
 * @param {(found: any, store: IDBObjectStore) => T} take if it throws, it has written nothing
 * @returns {Promise<T>}
 */
const transact = async (name, mode, ask, take) => {
  const begin = async () => {
    opened ??= open();
    return (await opened).transaction(name, mode, { durability: "relaxed" });
  };
  const transaction = await begin().catch(() => {
    opened = undefined; // it was closed: browsers do that to pages in the background
    return begin();
  });
  return new Promise((resolve, reject) => {
    /** @type {T} */
    let result;
    transaction.oncomplete = () => resolve(result);
    transaction.onabort = () => reject(transaction.error);
    const store = transaction.objectStore(name);
    const request = ask(store);
    request.onsuccess = () => {
      try {
        result = take(request.result, store);
      } catch (error) {
        reject(error);
      }
    };
  });
};

/** What one of the stores can do. @param {Store} name */
export const table = (name) => ({
  /** Whatever is stored. @returns {Promise<{id: string}[]>} */
  all: () =>
    transact(
      name,
      "readonly",
      (store) => store.getAll(),
      (found) => found,
    ),

  /**
   * Reads and writes in one step that nobody comes between. edit: gets what is there, or undefined,
   * and gives what is to be there: null for nothing, undefined for what is. Resolves with that.
   * @template {{id: string} | null | undefined} T
   * @param {string} id
   * @param {(there: unknown) => T} edit
   */
  update: (id, edit) =>
    transact(
      name,
      "readwrite",
      (store) => store.get(id),
      (there, store) => {
        const next = edit(there);
        if (next === null) store.delete(id);
        else if (next) store.put(next);
        return next;
      },
    ),
});
