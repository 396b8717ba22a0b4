// @ts-nocheck
// A reply's Markdown aligned with what the page shows of it, letter by letter: the page shows the
// letters in many elements and leaves marks out.

const BLANK = /\s/;
// What the page may not show of Markdown: its marks, the numbers of lists, and as a whole the lines
// around a block of code and where a link leads.
const MARKS = new Set("`*_~\\|[]()<>#=+-:.!0123456789");
const FENCE = /^[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t>]+)*(`{3,}|~{3,})(.*)$/;
const LINK = /\]\([^)]{0,2000}\)/y;
const RUN = 12; // letters in a row that are no chance
const AHEAD = 200; // letters that are looked through for these, marks between them or not
const FAR = 4_000; // and without marks
const MISSES = 1_000;

// The letters of `root` as a text, a letter being whatever is no blank; and of each one the text
// node, its offset in there, and the number of its line.
export const letters = (root) => {
  const nodes = [];
  const offsets = [];
  const onLines = [];
  let shown = "";
  let line = 0;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT, (node) =>
    node.parentElement.closest(".code-head") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT,
  );
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const { data } = node;
    for (let offset = 0; offset < data.length; offset++) {
      if (data[offset] === "\n") line++;
      if (BLANK.test(data[offset])) continue;
      nodes.push(node);
      offsets.push(offset);
      onLines.push(line);
      shown += data[offset];
    }
  }
  return { shown, nodes, offsets, onLines };
};

// The letters of a reply's Markdown, without the lines of fences, and for each offset in `text` how
// many of them stand before it.
export const written = (text) => {
  const before = new Int32Array(text.length + 1);
  let source = "";
  let offset = 0;
  let fence = ""; // what opened the block of code
  for (const line of text.split("\n")) {
    const [, marks, info] = FENCE.exec(line) ?? [];
    const closes = marks && fence && marks.startsWith(fence) && !info.trim();
    const opens = marks && !fence && !(marks[0] === "`" && info.includes("`"));
    if (opens || closes) fence = closes ? "" : marks;
    for (const end = offset + line.length; offset < end; offset++) {
      before[offset] = source.length;
      if (!opens && !closes && !BLANK.test(text[offset])) source += text[offset];
    }
    before[offset++] = source.length;
  }
  return { source, before };
};

// For each letter of `source` which letter of `shown` it is, -1 for none: a walk through both, in
// which the source runs ahead over what the page does not show. Where it is lost it looks on for the
// next letters that are alike; searches are bounded in number and in length.
export const align = (source, shown) => {
  const same = new Int32Array(source.length).fill(-1);
  const alike = (from, to) => {
    const end = Math.min(to + RUN, shown.length);
    for (const stop = from + 4 * RUN; to < end && from < stop; from++) {
      if (source[from] === shown[to]) to++;
      else if (!MARKS.has(source[from])) return false;
    }
    return to === end;
  };
  const ahead = (from, to) => {
    const stop = Math.min(from + AHEAD, source.length);
    for (let at = from; at < stop; at++) {
      if (source[at] === shown[to] && alike(at, to)) return at;
    }
    return -1;
  };
  const farAhead = (from, to) => {
    const found = source.slice(from, from + FAR).indexOf(shown.slice(to, to + RUN));
    return found < 0 ? -1 : from + found;
  };
  let from = 0;
  let to = 0;
  for (let misses = 0; from < source.length && to < shown.length && misses < MISSES; ) {
    LINK.lastIndex = from;
    if (source[from] === shown[to]) same[from++] = to++;
    else if (LINK.test(source)) from = LINK.lastIndex;
    else if (MARKS.has(source[from])) from++;
    else {
      let next = ahead(from, to);
      if (next < 0) next = farAhead(from, to);
      if (next < 0) {
        to++; // a letter that the page alone has, such as the one in the place of an entity
        misses++;
      } else from = next;
    }
  }
  return same;
};
