// The open conversation: what is shown, what the server is asked, and what of its news is kept. The
// server learns the open path alone, through the hidden box #path; what it says of a reply comes
// through #news, as turns that stand behind one that is known.
const Chat = (() => {
  const OPEN = "tech-assistant/open"; // in the tab's own store
  const DRAFT = "tech-assistant/draft";
  const IDS_MAX = 20_000; // of the newest turns: what no window holds need not travel
  const { el, button } = Dom;

  let id = null;
  let leaf = null; // the newest turn that is shown
  let editing = null; // the message that is in the box again
  let kept = ""; // the draft, while a message is edited
  let taken = { put: "", draft: "" }; // what Undo put into the box, and what of it was a draft
  let running = null; // the conversation whose reply is being written
  let run = null; // the number of the server's last run
  let told = ""; // the open path, as the server is told it
  const drawn = [];

  const tab = (key, value) => {
    try {
      if (value !== undefined) sessionStorage.setItem(key, value);
      return sessionStorage.getItem(key);
    } catch {
      return null; // blocked
    }
  };
  const record = () => Store.get(id);
  const path = () => (record() ? Records.path(record(), leaf) : []);
  const node = (nid) => record().nodes[nid];

  // What the server is told with every event; keep: how many turns count, while one is edited.
  const tell = () => {
    let room = IDS_MAX;
    const turns = path()
      .reverse()
      .map((nid) => {
        const { role, text, ids, pinned, finish } = node(nid);
        room -= ids?.length ?? 0;
        return { nid, role, content: text, ids: room > 0 ? ids : undefined, pinned, finish };
      });
    const keep = editing ? path().indexOf(editing) : undefined;
    told = JSON.stringify({ id, turns: turns.reverse(), keep, settings: Settings.get() });
    Dom.fill("path", told);
    Ledger.ask();
  };
  // While Gradio builds the page, what was filled in can be lost: it must stand when it is needed.
  for (const sign of ["keydown", "click"]) {
    document.addEventListener(sign, () => Dom.fill("path", told), true);
  }

  const draw = () => {
    const here = record();
    const busy = running === id && !!here;
    Dom.find("#transcript")?.classList.toggle("running", busy);
    Turns.show(here, leaf, { running: busy, editing, do_ });
    undo.disabled = !here || !leaf || busy;
    redo.hidden = busy || !here || !Records.family(here).has(leaf ?? "");
    editBar.hidden = !editing;
    Sidebar.draw();
    drawn.forEach((listener) => listener(here));
  };
  const endEdit = () => {
    if (!editing) return;
    editing = null;
    Dom.fill("message", kept);
  };
  const refresh = () => {
    if (editing && !path().includes(editing)) endEdit();
    draw();
    tell();
  };

  const open = (next, at) => {
    endEdit();
    id = next;
    leaf = at ?? record()?.leaf ?? null;
    Store.open = id;
    tab(OPEN, id);
    Settings.use(record() ? (record().settings ?? {}) : Store.settings());
    refresh();
  };
  const fresh = () => {
    open(Records.newId("c"));
    Dom.box("message")?.focus();
  };
  const go = (to) => {
    leaf = to;
    Store.change(id, (here) => (here.leaf = to));
    refresh();
  };

  // What the buttons under a turn do
  const ask = (box, what, nid, more) =>
    Dom.send(box, { what, n: Records.newId("q"), nid, keep: path().indexOf(nid) + 1, ...more });
  const receipt = (nid) => ({ receipt: node(nid).receipt });
  const do_ = {
    edit: (nid) => {
      if (!editing) kept = Dom.box("message").value;
      editing = nid;
      Dom.fill("message", node(nid).text);
      refresh();
      Dom.box("message").focus();
    },
    regenerate: (nid) => ask("act", "reply", node(nid).role === "user" ? nid : node(nid).parent),
    carryOn: (nid) => ask("act", "continue", nid),
    pin: (nid) => {
      Store.change(id, ({ nodes }) => {
        if (nodes[nid].pinned) delete nodes[nid].pinned;
        else nodes[nid].pinned = true;
      });
      refresh();
    },
    step: (nid) => go(Records.tip(record(), nid)),
    again: (nid) => ask("act", "again", nid, receipt(nid)),
    saw: (nid) => ask("ask", "saw", nid, receipt(nid)),
    playground: (nid) => ask("ask", "playground", nid, receipt(nid)),
  };
  const cancelEdit = () => {
    endEdit();
    refresh();
  };
  const takeBack = () => {
    const message = path().findLast((nid) => node(nid).role === "user");
    endEdit();
    const value = Dom.box("message").value;
    const draft = value === taken.put ? taken.draft : value;
    taken = { put: [node(message).text, draft].filter(Boolean).join("\n\n"), draft };
    Dom.fill("message", taken.put);
    go(node(message).parent);
  };
  const putBack = () =>
    go(
      Records.tip(
        record(),
        Records.family(record())
          .get(leaf ?? "")
          .at(-1),
      ),
    );

  // {nid, role, content, ids?, finish?, receipt?}, one behind the other, stand behind `after`.
  const add = (conversation, after, turns) => {
    let parent = after;
    for (const { nid, role, content, ...more } of turns) {
      conversation.nodes[nid] ??= {
        parent,
        ...Records.checkTurn({ role, text: content, ...more }, role),
      };
      parent = nid;
    }
    conversation.leaf = parent;
    conversation.title ||= Records.titleOf(turns[0].content);
  };

  // A reply from elsewhere, as another version behind the turn `after`
  const branch = (of, after, { text, ids }) => {
    if (of !== id) open(of);
    const turn = { nid: Records.newId("n"), role: "assistant", content: text, ids };
    Store.change(of, (conversation) => add(conversation, after, [turn]));
    go(turn.nid);
  };

  // News of a reply: {run, id, after, add, running, settings}. add: all turns that this run brought
  // so far, since of news that follow each other fast the first may never be seen.
  Dom.hear("news", ({ id: of, after, add: turns, settings, ...news }, articles) => {
    const begins = news.run !== run;
    [run, running] = [news.run, news.running ? of : null];
    const here = Store.get(of);
    const end = turns.at(-1)?.nid ?? after;
    if (after === null || (here && Object.hasOwn(here.nodes, after))) {
      const follow =
        of === id && (begins || leaf === after || turns.some(({ nid }) => nid === leaf));
      if (articles.length) Turns.rendered(of, end, articles[0]);
      if (turns.length) {
        Store.change(
          of,
          (conversation) => add(conversation, after, turns),
          begins ? Records.create(of, settings) : null, // one that was deleted does not come back
        );
      }
      if (follow) leaf = end;
      if (follow && begins && turns.length) {
        // What was sent leaves the box; what was typed since stays, and so does a draft beside an
        // example that was chosen. (The box is the page's: of two updates of a box that follow each
        // other fast, Gradio can lose the first.)
        const sent = news.sent !== null && (editing || Dom.box("message").value === news.sent);
        if (sent) Dom.fill("message", editing ? kept : "");
        editing = null;
      }
    }
    refresh();
    if (!news.running && of === id && leaf === end) {
      spoken.textContent = Dom.find("article:last-child .said", Turns.log)?.innerText ?? "";
    }
  });

  const stop = () => Dom.find("#message .stop-button")?.click();
  const gone = (which) => {
    if (running === which) stop();
    if (id === which) fresh();
  };

  // Answers to what was asked
  Dom.hear("told", (answer) => {
    if (answer.what === "saw") Receipts.saw(answer);
    if (answer.what === "again") Receipts.compared(answer);
  });

  // Around the box
  const undo = button("Undo", takeBack, {
    id: "undo",
    title: "Take the last exchange back into the box",
  });
  const redo = button("Redo", putBack, {
    id: "redo",
    title: "Go on to the newest turn that follows",
  });
  const editBar = el(
    "div",
    { id: "editing", hidden: true },
    el("p", {
      textContent: "Editing: sending makes another version of this message; this one stays.",
    }),
    button("Cancel", cancelEdit),
  );
  const spoken = el("div", { id: "spoken", className: "sr", "aria-live": "polite" });

  Settings.listen((settings) => {
    if (record()) Store.change(id, (here) => (here.settings = settings));
    tell();
  });
  Store.listen((changed) => changed === id && draw());
  Dom.whenever("#message", (message) => {
    message.before(editBar);
    const box = Dom.box("message");
    box.addEventListener("input", () => tab(DRAFT, box.value));
  });
  Dom.whenever("#below", (below) => {
    running = null;
    below.append(undo, redo, Settings.toggle);
    below.before(Settings.panel);
    below.after(spoken);
    const last = id ?? tab(OPEN);
    open(last && (id || Store.get(last)) ? last : Records.newId("c"), id ? leaf : undefined);
  });
  // Gradio's events are heard from now on; after the server was lost, once more.
  Dom.hear("facts", () => {
    if (tab(DRAFT)) Dom.fill("message", tab(DRAFT));
    tell();
  });

  return {
    open,
    fresh,
    gone,
    stop,
    tell,
    branch,
    current: () => ({ id, record: record(), leaf }),
    listen: (listener) => drawn.push(listener),
  };
})();
