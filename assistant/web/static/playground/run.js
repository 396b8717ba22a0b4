// What the server computes for the open prompt: one thing at a time, in one stream, which ends when a
// person stops it or leaves.
import { newId } from "../lib/records.js";
import { ask, events } from "../lib/server.js";

const PATIENCE_MS = 2_000; // for the end of what was stopped

/** @type {{number: string, end: AbortController} | null} */
let current = null;

export const isRunning = () => current !== null;

/**
 * Follows a stream to its end. Throws a ServerError, or what an aborted fetch throws.
 * @param {"complete" | "inspect"} route @param {{}} body @param {(news: any) => unknown} hear
 */
export const follow = async (route, body, hear) => {
  const run = { number: newId("r"), end: new AbortController() };
  current = run;
  const sent = route === "complete" ? { ...body, run: run.number } : body;
  try {
    for await (const news of events(route, sent, run.end.signal)) hear(news);
  } finally {
    if (current === run) current = null;
  }
};

/** Ends it; what is there stays. */
export const stop = async () => {
  const run = current;
  if (!run) return;
  const abort = () => run.end.abort();
  setTimeout(abort, PATIENCE_MS); // after its end that does nothing
  const answer = await ask("complete/stop", { run: run.number }).catch(() => null);
  if (!answer?.stopped) abort();
};
