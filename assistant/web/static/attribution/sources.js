// Where a reply's code comes from: the server is asked once a reply with code is there, what it found
// is kept beside the reply, underlined in it and listed below. Paths and licences come from an index
// or an imported file: all of it is shown as text.
const Sources = (() => {
  const { el, find } = Dom;
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

  // What is known of a reply, in its article: `found` is the node's sources.
  const dress = (article, { nid, text }, found) => {
    const said = find(".said", article);
    Marks.clear(said);
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
      if (!said.classList.contains("plain")) Marks.underline(said, text, [...parts, ...spans]);
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

  // Not Store.change: a conversation that is looked up keeps its place in the list.
  const keep = (id, nid, sources) => {
    const record = Store.get(id);
    if (!record?.nodes[nid]) return;
    Store.put({ ...record, nodes: { ...record.nodes, [nid]: { ...record.nodes[nid], sources } } });
  };

  Dom.hear("checked", ({ id, nid, building, n, ...found }) => {
    if (building) {
      looking.set(nid, building);
      return Turns.dress(id, nid, Store.get(id)?.nodes[nid]?.sources);
    }
    looking.delete(nid);
    const sources = Records.checkSources(found);
    const failed = !!sources.note && !sources.matches.length && !sources.spans.length;
    if (!failed) keep(id, nid, sources); // else it is looked up again another time
    Turns.dress(id, nid, sources);
    Turns.lookedUp(id, nid, failed);
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

  return { look, dress, words };
})();
