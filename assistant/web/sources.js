// Where a reply's code comes from: the server is asked once a reply with code is there, what it found
// is kept beside the reply, underlined in it and listed below. Paths and licences come from an index
// or an imported file: all of it is shown as text.
const Sources = (() => {
  const { el, find } = Dom;
  const BLANK = /\s/;
  const SKIPPED = /[\s`*_\\]/; // and the marks of Markdown, of which the page shows only some
  const looking = new Map(); // nid -> what is said while the server looks

  const lines = ({ start_line: first, end_line: last }) =>
    first === last ? `line ${first}` : `lines ${first}–${last}`;
  const sentence = (match) => `Matches ${match.path}, ${lines(match)}, ${match.licence}`;
  const more = ({ source, others, length }) =>
    [
      source,
      `${length} characters`,
      others ? `and in ${others} more ${others === 1 ? "place" : "places"}` : "",
    ]
      .filter(Boolean)
      .join(" · ");
  const known = ({ spans, service }) =>
    `${spans.length} ${spans.length === 1 ? "part stands" : "parts stand"} in the training data, ` +
    `says ${service}; it names no source`;

  // Every character of `root` that is not blank, as [node, offset]; those that count as a text, and
  // for each of these its index among all.
  const letters = (root) => {
    const places = [];
    const counted = [];
    let text = "";
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT, (node) =>
      node.parentElement.closest(".code-head") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT,
    );
    while (walker.nextNode()) {
      const { data } = walker.currentNode;
      for (let offset = 0; offset < data.length; offset++) {
        if (BLANK.test(data[offset])) continue;
        places.push([walker.currentNode, offset]);
        if (SKIPPED.test(data[offset])) continue;
        counted.push(places.length - 1);
        text += data[offset];
      }
    }
    return { places, counted, text };
  };

  // Underline `parts`, {text, tip, kind} in the order of the reply.
  const underline = (root, parts) => {
    const { places, counted, text } = letters(root);
    const wanted = []; // [node, first offset, last offset, part, whether it can be reached by Tab]
    let from = 0;
    for (const part of parts) {
      const letters_ = [...part.text].filter((char) => !SKIPPED.test(char)).join("");
      let at = text.indexOf(letters_, from);
      if (at < 0) at = text.indexOf(letters_);
      if (!letters_ || at < 0) continue;
      from = at;
      let reached = false;
      const end = counted[at + letters_.length - 1];
      for (let index = counted[at]; index <= end; index++) {
        const [node, offset] = places[index];
        const last = wanted.at(-1);
        if (last && last[0] === node && last[3] === part) last[2] = offset;
        else {
          wanted.push([node, offset, offset, part, !reached]);
          reached = true;
        }
      }
    }
    // From the end of each node on, so that the offsets before it stay.
    wanted.sort((one, other) => other[1] - one[1]);
    const ends = new Map(); // node -> where it is still one piece
    for (const [node, first, last, part, reached] of wanted) {
      const end = Math.min(last + 1, ends.get(node) ?? Infinity);
      if (end <= first) continue;
      ends.set(node, first);
      const piece = node.splitText(first);
      piece.splitText(end - first);
      const mark = el("mark", { className: `match ${part.kind}` });
      if (reached) mark.tabIndex = 0;
      mark.setAttribute("aria-label", `${piece.data}. ${part.tip}`);
      mark.tip = part.tip;
      piece.replaceWith(mark);
      mark.append(piece);
    }
  };

  // What is known of a reply, in its article: `found` is the node's sources.
  const dress = (article, nid, found) => {
    const said = find(".said", article);
    said.querySelectorAll("mark.match").forEach((mark) => mark.replaceWith(...mark.childNodes));
    said.normalize();
    find(".sources", article)?.remove();
    const notes = [looking.get(nid)];
    if (found) {
      const parts = found.matches.map((match) => ({
        ...match,
        kind: match.length < 99 ? "short" : "long",
        tip: `${sentence(match)}. ${more(match)}`,
      }));
      const spans = found.spans.map((span) => ({
        ...span,
        kind: "known",
        tip: `Stands in the training data, says ${found.service}`,
      }));
      underline(said, [...parts, ...spans]);
      notes.push(found.note, found.spans.length ? known(found) : "");
    }
    const items = [
      ...(found?.matches ?? []).map((match) =>
        el(
          "li",
          {},
          match.url
            ? el("a", {
                href: match.url,
                target: "_blank",
                rel: "noopener noreferrer",
                textContent: sentence(match),
              })
            : sentence(match),
          el("span", { textContent: ` · ${more(match)}` }),
        ),
      ),
      ...notes.filter(Boolean).map((note) => el("li", { textContent: note })),
    ];
    if (items.length)
      said.after(el("ul", { className: "sources", "aria-label": "Sources" }, ...items));
  };

  // The same for a file, as lines of text
  const words = (found) =>
    found
      ? [...found.matches.map(sentence), ...(found.spans.length ? [known(found)] : [])]
      : [];

  const look = (id, nid, text) => {
    Dom.send("check", { n: Records.newId("q"), id, nid, text, service: service.checked });
  };

  Dom.hear("checked", ({ id, nid, building, n, ...found }) => {
    if (building) looking.set(nid, building);
    else {
      looking.delete(nid);
      const sources = Records.checkSources(found);
      Store.change(id, ({ nodes }) => nodes[nid] && (nodes[nid].sources = sources));
    }
    Turns.dress(id, nid, Store.get(id)?.nodes[nid]?.sources);
  });

  // Whether a service is asked too: this browser's choice, which no file and no link can make.
  const CHOICE = "tech-assistant/service";
  const stored = (value) => {
    try {
      if (value !== undefined) localStorage.setItem(CHOICE, value);
      return localStorage.getItem(CHOICE);
    } catch {
      return null; // blocked
    }
  };
  const service = el("input", {
    type: "checkbox",
    name: "service",
    onchange: () => stored(service.checked ? host : ""),
  });
  const asks = el("span");
  const choice = el("label", { className: "field check", hidden: true }, service, asks);
  let host = null;
  Settings.panel.append(choice);
  Dom.hear("facts", (facts) => {
    host = facts.service;
    choice.hidden = !host;
    service.checked = !!host && stored() === host;
    asks.textContent =
      `Ask ${host} whether a reply's code stands in the training data. The reply is sent there: ` +
      "it leaves this machine.";
  });

  // What is said of an underlined part while the pointer is on it, or the keyboard.
  const tip = el("div", { id: "match-tip", role: "tooltip", hidden: true });
  const show = (mark) => {
    const box = mark.getClientRects()[0];
    tip.textContent = mark.tip;
    tip.hidden = false;
    const left = Math.min(box.left, innerWidth - tip.offsetWidth - 8);
    const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
  };
  const hide = () => (tip.hidden = true);
  const over = ({ target }) => (target.tip ? show(target) : hide());
  document.addEventListener("mouseover", over);
  document.addEventListener("focusin", over);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hide());
  Dom.whenever(".gradio-container", (page) => page.append(tip));

  return { look, dress, words };
})();
