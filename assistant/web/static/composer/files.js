// Files that go with a message: read here, shown as fences with their names behind what was typed, and
// found again in a message that comes back.
import { cut } from "../lib/text.js";

/** @typedef {{name: string, text: string}} Attached */

const BYTES_MAX = 1_000_000; // of a file that is looked into
const NAME_MAX = 80;
const TICKS_MIN = 3;
/** @type {Record<string, string>} */
const LANGUAGES = {
  bash: "bash", c: "c", cc: "cpp", cfg: "ini", cpp: "cpp", cs: "csharp", css: "css", diff: "diff",
  go: "go", h: "c", hpp: "cpp", hs: "haskell", html: "html", ini: "ini", java: "java", jl: "julia",
  js: "javascript", json: "json", jsx: "javascript", kt: "kotlin", lua: "lua", md: "markdown",
  mjs: "javascript", patch: "diff", php: "php", pl: "perl", py: "python", pyi: "python", r: "r",
  rb: "ruby", rs: "rust", scala: "scala", sh: "bash", sql: "sql", swift: "swift", tex: "latex",
  toml: "toml", ts: "typescript", tsx: "typescript", txt: "text", xml: "xml", yaml: "yaml",
  yml: "yaml", zsh: "bash",
}; // biome-ignore format: a table

/** A name as the head of a fence can hold it. @param {string} name */
export const plain = (name) =>
  cut(name.replace(/[`'"=<>{}\p{C}\s]+/gu, " ").trim(), NAME_MAX) || "file.txt";

/** @param {string} name */
const languageOf = (name) => {
  if (/^(?:GNU)?makefile$/i.test(name)) return "make";
  if (/^dockerfile$/i.test(name)) return "dockerfile";
  const [, ending = ""] = name.toLowerCase().match(/\.(\w+)$/) ?? [];
  return Object.hasOwn(LANGUAGES, ending) ? LANGUAGES[ending] : "text";
};

/** A file's text, or an Error with a sentence. @param {File} file @returns {Promise<Attached>} */
export const read = async (file) => {
  const name = plain(file.name);
  if (file.size > BYTES_MAX) {
    throw new Error(
      `${name} has ${file.size.toLocaleString("en")} bytes; a file may have at most ` +
        `${BYTES_MAX.toLocaleString("en")}.`,
    );
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  const wide = bytes[0] === 0xff && bytes[1] === 0xfe;
  try {
    const text = new TextDecoder(wide ? "utf-16le" : "utf-8", { fatal: true }).decode(bytes);
    if (text.includes("\0")) throw new Error("no text");
    if (!text.trim()) throw new Error("empty");
    return { name, text: text.replaceAll("\r\n", "\n") };
  } catch {
    throw new Error(`${name} cannot be attached: it is empty, or no text in UTF-8.`);
  }
};

/** @param {Attached} file */
const fenceOf = ({ name, text }) => {
  const runs = text.match(/`+/g) ?? [];
  const longest = runs.reduce((most, run) => Math.max(most, run.length), 0);
  const ticks = "`".repeat(Math.max(TICKS_MIN, longest + 1));
  return `${ticks}${languageOf(name)} ${name}\n${text}${text.endsWith("\n") ? "" : "\n"}${ticks}`;
};

/** The message of what was typed and the files with it. @param {string} typed @param {Attached[]} files */
export const pack = (typed, files) =>
  files.length ? [typed.trimEnd(), ...files.map(fenceOf)].filter(Boolean).join("\n\n") : typed;

/** What pack() made a message of. @param {string} message @returns {{typed: string, files: Attached[]}} */
export const unpack = (message) => {
  /** @type {Attached[]} */
  const files = [];
  const lines = message.split("\n");
  for (;;) {
    const ticks = lines.at(-1) ?? "";
    if (!/^`{3,}$/.test(ticks)) break;
    let at = lines.length - 2;
    while (at >= 0 && !lines[at].startsWith(ticks)) at--;
    const name = at < 0 ? "" : lines[at].slice(ticks.length).match(/^\w+ ([^`]+)$/)?.[1];
    if (!name || (at > 0 && lines[at - 1] !== "")) break;
    files.unshift({
      name,
      text: lines
        .slice(at + 1, -1)
        .map((line) => `${line}\n`)
        .join(""),
    });
    lines.length = Math.max(at - 1, 0);
  }
  return { typed: lines.join("\n"), files };
};
