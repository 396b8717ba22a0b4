// The transcript: one article for each turn of the open path. A message is shown to the letter. A
// reply is shown to the letter too, until the server has rendered it; articles are kept, so stepping
// between branches, or a new turn behind 300 others, touches what has changed alone.
const Turns = (() => {
  const MARKS = {
    length: "Cut at the reply's length limit",
    cancelled: "Stopped",
    error: "Interrupted by an error",
  };
  const LEAVES = "The model does not see the messages above: they no longer fit its window";
  const RENDER_CHARS = 40_000; // of replies that the server renders at once
  const KEPT_MAX = 2_000;

  const log = Dom.el("div", { id: "log" });
  // Under the ids of conversation and turn, since a copy of a conversation has the same turns.
  const articles = new Map(); // key -> article
  const plain = new Set(); // keys of replies that are not rendered yet
  const ready = new Map(); // key -> a rendered reply that is not shown yet
  const line = Dom.el("p", { className: "left-out", textContent: LEAVES });
  let asked = []; // the keys that the server is rendering, null for none; at first it hears nothing
  const looked = new Set(); // keys of turns whose sources were asked for, or that need none
  let looks = ""; // the key of the one that the server looks up, null for none; at first as above

  const act = (name, label, action, properties = {}) =>
    Dom.button(label, action, { className: `act act-${name}`, ...properties });

  const article = (key, { role, text }) => {
    const said = Dom.el("div", { className: "said" });
    if (role === "user") said.textContent = text;
    else if (!text)
      said.append(Dom.el("p", { className: "none", textContent: "No text came back." }));
    else if (ready.has(key)) {
      said.append(...ready.get(key));
      ready.delete(key);
    } else {
      said.classList.add("plain");
      said.textContent = text;
      plain.add(key);
    }
    const heading = role === "user" ? "You said" : "The assistant said";
    return Dom.el(
      "article",
      { className: `turn ${role}` },
      Dom.el("h3", { className: "sr", textContent: heading }),
      said,
      Dom.el("div", { className: "acts" }),
    );
  };

  // A reply as the server rendered it: an article of a hidden component, which stays as it is.
  const contents = (article_) => [...Dom.find(".said", article_).cloneNode(true).childNodes];
  const put = (key, article_) => {
    const said = articles.get(key) && Dom.find(".said", articles.get(key));
    if (!article_) return;
    if (!said) return ready.set(key, contents(article_));
    said.classList.remove("plain");
    said.replaceChildren(...contents(article_));
    plain.delete(key);
    redress(articles.get(key));
  };
  const rendered = (id, nid, article_) => put(id + nid, article_);

  // What is known of where a reply comes from
  const redress = (element) => Sources.dress(element, element.turn, element.sources);
  const dress = (id, nid, sources) => {
    const element = articles.get(id + nid);
    if (!element) return;
    element.sources = sources;
    redress(element);
  };

  // The newest reply with code that is shown and whose sources nobody has asked for: one at a time.
  const lookUp = () => {
    if (looks !== null) return;
    for (const element of [...log.children].reverse()) {
      const { id, nid, text } = element.turn;
      const key = id + nid;
      if (looked.has(key) || plain.has(key)) continue;
      looked.add(key);
      if (element.sources || !Dom.find(".said :is(code, .code)", element)) continue;
      looks = key;
      Sources.look(id, nid, text);
      return;
    }
  };
  // failed: the earlier replies would fail as well, so they wait until the page is loaded anew.
  const lookedUp = (id, nid, failed) => {
    if (failed) [...log.children].forEach(({ turn }) => looked.add(turn.id + turn.nid));
    if (looks === id + nid) looks = null;
    lookUp();
  };

  const stepper = (nid, children, step) => {
    const at = children.indexOf(nid);
    const to = (index, sign, label) =>
      act("step", sign, () => step(children[index]), {
        disabled: !(index in children),
        title: label,
        "aria-label": label,
      });
    return Dom.el(
      "span",
      { className: "steps" },
      to(at - 1, "‹", "Earlier version"),
      Dom.el("span", { textContent: `${at + 1}/${children.length}` }),
      to(at + 1, "›", "Later version"),
    );
  };

  // The buttons under a turn. do_: what they do, see chat.js.
  const acts = (nid, node, { children, last, running, do_ }) => {
    const user = node.role === "user";
    const copy = act("copy-text", "Copy", (event) => Dom.copy(event.target, node.text));
    const pin = act("pin", node.pinned ? "Pinned" : "Pin", () => do_.pin(nid), {
      "aria-pressed": String(!!node.pinned),
      title: "A pinned turn stays in the model's window",
    });
    const again = user ? last : true;
    return [
      node.text ? copy : null,
      user ? act("edit", "Edit", () => do_.edit(nid)) : null,
      again && !(last && running)
        ? act("regenerate", "Regenerate", () => do_.regenerate(nid))
        : null,
      last && !running && node.finish === "length" && node.text
        ? act("continue", "Continue", () => do_.carryOn(nid))
        : null,
      pin,
      children.length > 1 ? stepper(nid, children, do_.step) : null,
      MARKS[node.finish]
        ? Dom.el("span", { className: "mark", textContent: MARKS[node.finish] })
        : null,
    ].filter(Boolean);
  };

  // Show the path to `leaf`. dropped: indices of the exchanges that are left out.
  const show = (record, leaf, { running, editing, do_ }) => {
    const path = record ? Records.path(record, leaf) : [];
    const children = record ? Records.family(record) : new Map();
    if (articles.size > KEPT_MAX) [articles, plain].forEach((kept) => kept.clear());
    const wanted = path.map((nid, index) => {
      const node = record.nodes[nid];
      const key = record.id + nid;
      if (!articles.has(key)) articles.set(key, article(key, node));
      const element = articles.get(key);
      element.turn ??= { id: record.id, nid, text: node.text };
      if (node.sources && !element.sources) dress(record.id, nid, node.sources);
      const near = children.get(node.parent ?? "");
      const last = index === path.length - 1;
      const state = JSON.stringify([
        near.indexOf(nid),
        near.length,
        last,
        running && last,
        !!node.pinned,
      ]);
      if (element.state !== state) {
        element.state = state;
        element.receipt ??= node.role === "assistant" ? Receipts.folded(nid, node, do_) : null;
        const row = Dom.find(".acts", element);
        const pressed = row.contains(document.activeElement) && document.activeElement.classList[1];
        row.replaceChildren(...acts(nid, node, { children: near, last, running, do_ }));
        if (element.receipt) row.append(element.receipt);
        if (pressed) Dom.find(`.${pressed}`, row)?.focus();
      }
      element.classList.toggle("edited", nid === editing);
      return element;
    });
    let same = 0;
    while (same < wanted.length && log.children[same] === wanted[same]) same++;
    while (log.children.length > same) log.lastChild.remove();
    log.append(...wanted.slice(same));
    Dom.find("#transcript")?.classList.toggle("filled", path.length > 0);
    render();
    lookUp();
  };

  const mark = (dropped) => {
    const gone = new Set(dropped);
    let first = -1;
    [...log.children].forEach((element, index) => {
      const exchange = Math.floor(index / 2);
      element.classList.toggle("gone", gone.has(exchange));
      if (!gone.has(exchange) && gone.has(exchange - 1) && index % 2 === 0) first = index;
    });
    if (first < 0) line.remove();
    else if (log.children[first].firstChild !== line) log.children[first].prepend(line);
  };

  // The newest replies are rendered first, so many at a time.
  const render = () => {
    if (asked || !plain.size) return;
    const shown = new Set(log.children);
    const texts = {};
    let chars = 0;
    for (const key of [...plain].reverse()) {
      if (!shown.has(articles.get(key))) continue;
      const text = Dom.find(".said", articles.get(key)).textContent;
      if (chars && chars + text.length > RENDER_CHARS) break;
      chars += text.length;
      texts[key] = text;
    }
    if (!chars) return;
    asked = Object.keys(texts);
    Dom.send("render", { n: Records.newId("r"), texts: asked.map((key) => texts[key]) });
  };
  Dom.hear("rendered", (_, found) => {
    asked?.forEach((key, index) => put(key, found[index]));
    asked = null;
    render();
    lookUp();
  });

  Dom.whenever("#live", (live) => live.before(log));
  Dom.hear("facts", () => {
    asked = null; // whoever rendered before is gone
    render();
    looked.delete(looks); // and so is whoever looked
    looks = null;
    lookUp();
  });

  return { show, mark, rendered, dress, lookedUp, log };
})();
