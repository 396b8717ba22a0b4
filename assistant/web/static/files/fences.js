// Which fence a Markdown text leaves open at its end. As CommonMark has it: a fence within a list or
// a quotation ends with that, and what stands in raw HTML is no fence.

/** What the lines of a list item are indented by, or 0 for a quotation. @typedef {number} Box */

/**
 * Lines that are read as they are. mark: of a fence, else "".
 * @typedef {{mark: string, ends: (line: string) => boolean}} Raw
 */

const DEPTH_MAX = 50; // of boxes; deeper ones are taken for text
const FENCE = /^ {0,3}(?:(`{3,})[^`]*|(~{3,}).*)$/;
const CLOSING = /^ {0,3}(`+|~+) *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3}(?:[-+*]|(\d{1,9})[.)]))( +(?=[^ ])| *$)/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const HEADING = /^ {0,3}#{1,6}(?: |$)/;
const UNDERLINE = /^ {0,3}(?:=+|-+) *$/; // makes a heading of the text above
const BLANK = /^ *$/;
const BLOCKS =
  "address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|" +
  "dir|div|dl|dt|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|" +
  "iframe|legend|li|link|main|menu|menuitem|nav|noframes|ol|optgroup|option|p|param|search|section|" +
  "summary|table|tbody|td|tfoot|th|thead|title|tr|track|ul";
/** How raw HTML begins, and the line that it ends with. @type {[RegExp, RegExp][]} */
const HTML = [
  [/^ {0,3}<(?:script|pre|style|textarea)(?:[ >]|$)/i, /<\/(?:script|pre|style|textarea)>/i],
  [/^ {0,3}<!--/, /-->/],
  [/^ {0,3}<\?/, /\?>/],
  [/^ {0,3}<![a-z]/i, />/],
  [/^ {0,3}<!\[CDATA\[/, /\]\]>/],
  [new RegExp(`^ {0,3}</?(?:${BLOCKS})(?: |/?>|$)`, "i"), BLANK],
];
/** The same for any other element, which does not end a text. @type {[RegExp, RegExp]} */
const ELEMENT = [/^ {0,3}<\/?[a-z][a-z0-9-]*(?: [^<>]*)?> *$/i, BLANK];

/** @param {string} line */
const indentOf = (line) => line.search(/[^ ]|$/);

/** With blanks for tabs. @param {string} line */
const untabbed = (line) => {
  let more = 0;
  return line.replace(/\t/g, (_, at) => {
    const width = 4 - ((at + more) % 4);
    more += width - 1;
    return " ".repeat(width);
  });
};

/**
 * The line without what the open boxes put before it, and how many of them it is in.
 * @param {string} line @param {Box[]} boxes @returns {[string, number]}
 */
const inside = (line, boxes) => {
  let rest = line;
  for (const [depth, width] of boxes.entries()) {
    const quote = width ? null : QUOTE.exec(rest);
    if (quote) rest = rest.slice(quote[0].length);
    else if (width && (BLANK.test(rest) || indentOf(rest) >= width)) rest = rest.slice(width);
    else return [rest, depth];
  }
  return [rest, boxes.length];
};

/**
 * The line without what begins boxes, and those boxes.
 * @param {string} line @param {boolean} goesOn a text of the same boxes stands above
 * @param {number} room for so many boxes
 * @returns {[string, Box[]]}
 */
const begun = (line, goesOn, room) => {
  /** @type {Box[]} */
  const boxes = [];
  let rest = line;
  while (boxes.length < room) {
    const quote = QUOTE.exec(rest);
    const item = quote || RULE.test(rest) ? null : ITEM.exec(rest);
    if (quote) {
      boxes.push(0);
      rest = rest.slice(quote[0].length);
    } else if (item) {
      const [whole, marker, number, blanks] = item;
      const empty = whole.length === rest.length;
      if (goesOn && !boxes.length && (empty || Number(number ?? 1) !== 1)) break;
      const width = marker.length + (empty || blanks.length > 4 ? 1 : blanks.length);
      boxes.push(width);
      rest = rest.slice(width);
    } else break;
  }
  return [rest, boxes];
};

/** @param {string} line @param {boolean} inText @returns {Raw | undefined} what begins in it */
const rawIn = (line, inText) => {
  const [, ticks, tildes] = FENCE.exec(line) ?? [];
  const mark = ticks ?? tildes;
  if (mark) return { mark, ends: (later) => !!CLOSING.exec(later)?.[1].startsWith(mark) };
  const html = (inText ? HTML : [...HTML, ELEMENT]).find(([start]) => start.test(line));
  return html && { mark: "", ends: (later) => html[1].test(later) };
};

/** Whether a line is of a paragraph. @param {string} line @param {boolean} goesOn as in `begun` */
const isPlain = (line, goesOn) =>
  ![BLANK, RULE, HEADING].some((each) => each.test(line)) && !(goesOn && UNDERLINE.test(line));

/** The line that closes the fence which is open behind `text`, or "". @param {string} text */
export const closing = (text) => {
  /** @type {Box[]} */
  let boxes = [];
  /** @type {Raw | undefined} */
  let raw;
  let inText = /** @type {boolean} */ (false); // the line above belongs to a paragraph
  let hollow = false; // the line above is an item that holds nothing so far
  for (const line of text.split(/\r\n?|\n/)) {
    const [here, matched] = inside(untabbed(line), boxes);
    const depth = matched - Number(hollow && matched === boxes.length && BLANK.test(here));
    if (raw && depth === boxes.length) {
      if (raw.ends(here)) raw = undefined;
      continue;
    }
    const goesOn = inText && depth === boxes.length;
    const [rest, added] = begun(here, goesOn, DEPTH_MAX - depth);
    raw = rawIn(rest, inText && !added.length);
    const plain = !raw && isPlain(rest, goesOn);
    hollow = false;
    if (inText && plain && !added.length) continue; // be it outside of its boxes
    boxes = [...boxes.slice(0, depth), ...added];
    inText = plain && indentOf(rest) < 4;
    hollow = added.length > 0 && BLANK.test(rest);
    if (raw && !raw.mark && raw.ends(rest)) raw = undefined;
  }
  return raw && !boxes.length ? raw.mark : "";
};
