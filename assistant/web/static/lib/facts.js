// What this server told of itself when the page was loaded: see chat/tab.py.
import { ask } from "./server.js";

/**
 * A prompt template of the server. instructions: whether it has a place for them.
 * @typedef {{name: string, title: string, instructions: boolean,
 *   sampling: Record<string, number | null>}} Template
 */

/** @typedef {"temperature" | "top_p" | "top_k" | "min_p" | "repetition_penalty" | "typical_p"
 *   | "presence_penalty" | "frequency_penalty" | "dry_multiplier" | "dry_base"
 *   | "dry_allowed_length"} Sampled */

/**
 * message, text, template: characters of a message, of all else, of a template; turns, body: of a
 * request, the latter bytes; sampling: from where to where; stops, stop: how many, and characters
 * @typedef {{message: number, text: number, template: number, turns: number, body: number,
 *   sampling: Record<Sampled, [number, number]>, stops: number, stop: number}} Limits
 */

/**
 * @typedef {object} Facts
 * @property {string} model
 * @property {number} window
 * @property {Record<string, string>} limitations what the server cannot do: name -> why
 * @property {Limits} limits
 * @property {number} max_new_tokens
 * @property {string} template the one that holds where none is chosen
 * @property {Template[]} templates
 * @property {{name: string, why: string, sampling: Record<string, number | null>}[]} presets
 * @property {string[]} examples
 * @property {string} intro
 * @property {string} continues what stands in an empty prompt
 * @property {string} notice
 * @property {{name: string, url: string, asks: string[]} | null} licence
 * @property {string | null} service
 */

/** @type {Facts} */
export const facts = await ask("facts");
