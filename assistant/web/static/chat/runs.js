// The replies that this tab has written: one at a time for a conversation, and two at a time in all,
// since a browser opens few connections to a server. Further ones wait here.
import { newId } from "../lib/records.js";
import { ask, events } from "../lib/server.js";

const MOST = 2;
const PATIENCE_MS = 2_000; // for the end of a reply that was stopped
const WAITS = "Waits until another reply of this page is finished";

/**
 * @typedef {object} Run
 * @property {string} number the server's name for it
 * @property {AbortController} end
 * @property {boolean} sent
 */

/** @type {Map<string, Run>} */
const runs = new Map(); // by conversation
/** @type {(() => void)[]} */
const waiting = [];
let busy = 0;

/** Whether a reply of that conversation is being written. @param {string} id */
export const isRunning = (id) => runs.has(id);

/** @param {AbortSignal} signal */
const place = async (signal) => {
  if (busy >= MOST) {
    await new Promise((resolve) => {
      waiting.push(() => resolve(null));
      signal.addEventListener("abort", resolve);
    });
  }
  signal.throwIfAborted();
  busy++;
};
const leave = () => {
  busy--;
  waiting.shift()?.();
};

/**
 * Follows a reply to its end. hear: is called with each of the server's news, see chat/stream.py.
 * Throws a ServerError, or what an aborted fetch throws.
 * @param {string} id of the conversation
 * @param {"chat" | "again"} route @param {{}} body @param {(news: any) => unknown} hear
 */
export const follow = async (id, route, body, hear) => {
  const run = { number: newId("r"), end: new AbortController(), sent: false };
  const { signal } = run.end;
  runs.set(id, run);
  try {
    if (busy >= MOST) hear({ status: WAITS });
    await place(signal);
    try {
      run.sent = true;
      for await (const news of events(route, { ...body, run: run.number }, signal)) hear(news);
    } finally {
      leave();
    }
  } finally {
    runs.delete(id);
  }
};

/** Ends the reply of that conversation; what is there of it stays. @param {string} id */
export const stop = async (id) => {
  const run = runs.get(id);
  if (!run) return;
  const abort = () => run.end.abort();
  if (!run.sent) return abort();
  setTimeout(abort, PATIENCE_MS); // after its end that does nothing
  const answer = await ask("stop", { run: run.number }).catch(() => null);
  if (!answer?.stopped) abort();
};
