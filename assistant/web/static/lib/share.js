// A conversation in the fragment of a link, which browsers send to no server: the open path and the
// settings, with instructions and a template of one's own; nothing else. "#chat=1." and then base64url of deflated JSON.
import * as records from "./records.js";
import { checkSettings } from "./settings.js";

/** @import {Conversation, Turn} from "./records.js" */
/** @import {Settings} from "./settings.js" */

const START = "#chat=1.";
const LINK_MAX = 60_000; // characters; longer ones are cut by too many programs
const TEXT_MAX = 1_000_000; // characters that a link may unfold to

const HERE = /^(?:(?:.+\.)?localhost|127(?:\.\d+){3}|\[::1\])$/;
const NEAR =
  /^(?:10(?:\.\d+){3}|192\.168(?:\.\d+){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d+){2}|.+\.local|[^.:]+)$/;

/** How far links of a host reach. @param {string} host */
export const reach = (host) => {
  if (HERE.test(host)) return "computer";
  return NEAR.test(host) ? "network" : "everywhere";
};

/**
 * What a stream makes of a text or of bytes, at most `max` bytes of it.
 * @param {BlobPart} bytes @param {GenericTransformStream} stream @param {number} max
 */
const through = async (bytes, stream, max) => {
  const parts = [];
  let size = 0;
  const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader();
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    size += step.value.length;
    if (size > max) {
      reader.cancel();
      throw new Error(`it unfolds to more than ${max.toLocaleString("en")} characters`);
    }
    parts.push(step.value);
  }
  return new Blob(parts);
};

/**
 * The link, or an Error with a sentence.
 * @param {Conversation} record @param {string | null} leaf @param {Settings} settings
 */
export const link = async (record, leaf, settings) => {
  const turns = records.path(record, leaf).map((nid) => {
    const { text, finish, edited } = record.nodes[nid];
    return { text, finish, edited };
  });
  const value = JSON.stringify({ title: record.title, settings, turns });
  const folded = await through(value, new CompressionStream("deflate-raw"), Infinity);
  let binary = "";
  for (const byte of new Uint8Array(await folded.arrayBuffer()))
    binary += String.fromCharCode(byte);
  const code = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const url = location.origin + location.pathname + START + code;
  if (url.length > LINK_MAX) {
    throw new Error(
      `This conversation makes a link of ${url.length.toLocaleString("en")} characters; links may ` +
        `have ${LINK_MAX.toLocaleString("en")}. Export it as a file instead.`,
    );
  }
  return url;
};

/**
 * The conversation that a fragment holds, null for another fragment, or an Error with a sentence.
 * @param {string} fragment
 */
export const open = async (fragment) => {
  if (!fragment.startsWith("#chat=")) return null;
  try {
    if (!fragment.startsWith(START)) throw new Error("its version is not known here");
    if (fragment.length > LINK_MAX) throw new Error("it is too long");
    const code = fragment.slice(START.length).replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(code), (char) => char.charCodeAt(0));
    const blob = await through(bytes, new DecompressionStream("deflate-raw"), TEXT_MAX);
    const value = JSON.parse(await blob.text());
    const record = records.create(records.newId("c"), checkSettings(value.settings));
    if (!Array.isArray(value.turns) || !value.turns.length) throw new Error("it holds no turns");
    value.turns.forEach(
      (/** @type {Turn} */ { text, finish, edited }, /** @type {number} */ index) => {
        const nid = records.newId("n");
        const role = index % 2 ? "assistant" : "user";
        record.nodes[nid] = { parent: record.leaf, role, text, finish, edited };
        record.leaf = nid;
      },
    );
    record.title =
      typeof value.title === "string" ? records.cut(value.title, records.MAX.title) : "";
    return records.check(record);
  } catch (error) {
    const known = error instanceof Error && error.constructor === Error;
    const reason = known ? error.message : "it is damaged";
    throw new Error(`The shared link cannot be opened: ${reason}.`);
  }
};
