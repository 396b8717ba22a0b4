// What this server told of itself when the page was loaded: see chat/tab.py.
import { ask } from "./server.js";

/**
 * A prompt template of the server. instructions: whether it has a place for them.
 * @typedef {{name: string, title: string, instructions: boolean,
 *   sampling: Record<string, number | null>}} Template
 */

/**
 * @typedef {object} Facts
 * @property {string} model
 * @property {number} window
 * @property {Record<string, string>} limitations what the server cannot do: name -> why
 * @property {{message: number, text: number, template: number, turns: number, body: number}} limits
 *   characters of a message, of all else and of a template, turns of a request, bytes of a request
 * @property {number} max_new_tokens
 * @property {string} template the one that holds where none is chosen
 * @property {Template[]} templates
 * @property {{name: string, why: string, sampling: Record<string, number | null>}[]} presets
 * @property {string[]} examples
 * @property {string} intro
 * @property {string} notice
 * @property {{name: string, url: string, asks: string[]} | null} licence
 * @property {string | null} service
 */

/** @type {Facts} */
export const facts = await ask("facts");
