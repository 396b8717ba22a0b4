// Line ends and tabs in a field of one line, which cannot hold them: as \n, \r and \t, and \ as \\.

/** @param {string} text */
export const spelt = (text) =>
  text
    .replaceAll("\\", "\\\\")
    .replaceAll("\n", "\\n")
    .replaceAll("\r", "\\r")
    .replaceAll("\t", "\\t");

/** @type {Record<string, string>} */
const MEANT = { n: "\n", r: "\r", t: "\t", "\\": "\\" };
/** The text that is meant. @param {string} typed */
export const meant = (typed) => typed.replace(/\\([nrt\\])/g, (_, letter) => MEANT[letter]);
