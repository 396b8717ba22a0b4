// What this server told of itself when the page was loaded: see chat/tab.py.
import { ask } from "./server.js";

/**
 * @typedef {object} Facts
 * @property {string} model
 * @property {number} window
 * @property {Record<string, string>} limitations what the server cannot do: name -> why
 * @property {{message: number, text: number, turns: number, body: number}} limits characters of a
 *   message and of all else, turns of a request, bytes of a request
 * @property {number} max_new_tokens
 * @property {string} template the one that holds where none is chosen
 * @property {{name: string, title: string, temperature: number}[]} templates
 * @property {string[]} examples
 * @property {string} intro
 * @property {string} notice
 * @property {{name: string, url: string, asks: string[]} | null} licence
 * @property {string | null} service
 */

/** @type {Facts} */
export const facts = await ask("facts");
