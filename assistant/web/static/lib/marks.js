// Parts of a reply underlined where the page shows them. The reply is Markdown and its parts are told
// in code points of it; the page shows its letters in many elements and leaves marks out. Both are
// aligned letter by letter. Knows nothing of what the parts are.
const Marks = (() => {
  const { el } = Dom;
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
  const letters = (root) => {
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
  const written = (text) => {
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
  const align = (source, shown) => {
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

  const tipOf = ({ parts }) => parts.map((part) => part.tip).join("\n");

  // Underline `parts`, {start, end, tip, kind} in code points of `text`, in `root`, which shows it.
  const underline = (root, text, parts) => {
    const units = []; // where each code point begins, as JavaScript counts
    let unit = 0;
    for (const char of text) {
      units.push(unit);
      unit += char.length;
    }
    const { shown, nodes, offsets, onLines } = letters(root);
    const { source, before } = written(text);
    const same = align(source, shown);

    const sets = [[]]; // of parts, the shortest first
    const mine = new Int32Array(shown.length); // each shown letter's set, as its index
    for (const part of parts) {
      const joined = new Map(); // a set -> the same with this part
      const begin = before[units[part.start] ?? text.length];
      const end = before[units[part.end] ?? text.length];
      for (let index = begin; index < end; index++) {
        if (same[index] < 0) continue;
        const was = mine[same[index]];
        if (!joined.has(was)) {
          const set = [...sets[was], part];
          set.sort((one, other) => one.end - one.start - (other.end - other.start));
          joined.set(was, sets.push(set) - 1);
        }
        mine[same[index]] = joined.get(was);
      }
    }

    // One for each stretch of letters of one set, in one text node and, since no indentation is
    // underlined, on one line: [first letter, last letter]
    const stretches = [];
    const alike = (one, other) =>
      mine[one] === mine[other] && nodes[one] === nodes[other] && onLines[one] === onLines[other];
    mine.forEach((set, index) => {
      if (!set) return;
      if (index && alike(index - 1, index)) stretches.at(-1)[1] = index;
      else stretches.push([index, index]);
    });
    const reached = new Set(); // parts that Tab leads to
    const marks = stretches.map(([first, last]) => {
      const set = sets[mine[first]];
      const mark = el("mark", { className: `match ${set[0].kind}`, parts: set });
      if (set.every((part) => reached.has(part))) return mark;
      set.forEach((part) => reached.add(part));
      mark.tabIndex = 0;
      const said = nodes[first].data.slice(offsets[first], offsets[last] + 1);
      mark.setAttribute("aria-label", `${said}. ${tipOf(mark)}`);
      return mark;
    });
    // From the end on, so that the offsets before stay.
    for (let index = marks.length - 1; index >= 0; index--) {
      const [first, last] = stretches[index];
      const length = offsets[last] + 1 - offsets[first];
      const piece = offsets[first] ? nodes[first].splitText(offsets[first]) : nodes[first];
      if (length < piece.length) piece.splitText(length);
      piece.replaceWith(marks[index]);
      marks[index].append(piece);
    }
  };

  const clear = (root) => {
    root.querySelectorAll("mark.match").forEach((mark) => mark.replaceWith(...mark.childNodes));
    root.normalize();
  };

  // What is said of an underlined part while the pointer is on it, or the keyboard.
  const tip = el("div", { id: "match-tip", role: "tooltip", hidden: true });
  const show = (mark) => {
    const box = mark.getClientRects()[0];
    tip.textContent = tipOf(mark);
    tip.hidden = false;
    const left = Math.min(box.left, innerWidth - tip.offsetWidth - 8);
    const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
  };
  const hide = () => (tip.hidden = true);
  const over = ({ target }) => (target.parts ? show(target) : hide());
  document.addEventListener("mouseover", over);
  document.addEventListener("focusin", over);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hide());
  Dom.whenever(".gradio-container", (page) => page.append(tip));

  return { underline, clear };
})();
