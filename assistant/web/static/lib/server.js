// What the page asks of its server: one JSON request, and JSON or server-sent events back.

const BROKEN = "The server cannot be reached; try again in a moment.";
const ADDRESS = new URL("../../", import.meta.url); // this file is page/static/lib/server.js

/** What the server refused, or the connection: its message is a sentence for a person. */
export class ServerError extends Error {}

/**
 * @param {string} route behind /page/
 * @param {unknown} [body] of a POST
 * @param {AbortSignal} [signal]
 */
const request = async (route, body, signal) => {
  /** @type {RequestInit} */
  const options =
    body === undefined
      ? {}
      : {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(body),
        };
  let response;
  try {
    response = await fetch(new URL(route, ADDRESS), { ...options, signal });
  } catch (error) {
    throw signal?.aborted ? error : new ServerError(BROKEN);
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => null);
  const sentence = answer?.error?.message ?? answer?.detail;
  throw new ServerError(typeof sentence === "string" ? sentence : BROKEN);
};

/**
 * @param {string} route @param {unknown} [body] @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export const ask = async (route, body, signal) => {
  const response = await request(route, body, signal);
  try {
    return await response.json();
  } catch (error) {
    throw signal?.aborted ? error : new ServerError(BROKEN);
  }
};

/**
 * The values of a stream, one after the other; a ServerError where it breaks.
 * @param {string} route @param {unknown} body @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<any>}
 */
export async function* events(route, body, signal) {
  const { body: bytes } = await request(route, body, signal);
  const reader = /** @type {ReadableStream} */ (bytes)
    .pipeThrough(new TextDecoderStream())
    .getReader();
  try {
    for (let text = ""; ; ) {
      const { done, value } = await reader.read().catch((error) => {
        throw signal?.aborted ? error : new ServerError(BROKEN);
      });
      if (done) return;
      const lines = (text + value).split("\n\n");
      text = /** @type {string} */ (lines.pop());
      for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
