// The open conversation: what is shown, what the server is asked, and what of its news is kept. The
// server learns the open path alone, through the hidden box #path; what it says of a reply comes
// through #news, as turns to add behind one that is known.
const Chat = (() => {
  const OPEN = "tech-assistant/open"; // in the tab's own store
  const DRAFT = "tech-assistant/draft";
  const IDS_MAX = 20_000; // of the newest turns: what no window holds need not travel
  const { el, button } = Dom;

  let id = null;
  let leaf = null; // the newest turn that is shown
  let editing = null; // the message that is in the box again
  let running = null; // the conversation whose reply is being written
  let run = null; // the number of the server's last run
  let kept = ""; // the draft, while a message is edited

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

  // What the server is told with every event. keep: how many turns count, while one is edited.
  const tell = () => {
    let room = IDS_MAX;
    const turns = path().reverse().map((nid) => {
      const { role, text, ids, pinned, finish } = node(nid);
      room -= ids?.length ?? 0;
      return { nid, role, content: text, ids: room > 0 ? ids : undefined, pinned, finish };
    }).reverse();
    const keep = editing ? path().indexOf(editing) : undefined;
    Dom.fill("path", JSON.stringify({ id, turns, keep, settings: Settings.get() }));
    Ledger.ask();
  };

  const draw = () => {
    const live = running === id && !!record();
    Dom.find("#transcript")?.classList.toggle("running", running === id);
    Turns.show(record(), leaf, { running: live, editing, do_ });
    const children = record() ? Records.family(record()).has(leaf ?? "") : false;
    undo.disabled = !leaf || live;
    redo.hidden = !children || live;
    title.textContent = record()?.title ?? "New chat";
    for (const item of [share, files]) item.hidden = !record();
    editBar.hidden = !editing;
    if (Store.isUnsaved(id)) {
      Dom.say("This conversation is not saved: the browser's store is full or blocked. Export it, or delete others.");
    }
    Sidebar.draw();
  };
  const refresh = () => {
    draw();
    tell();
  };

  const open = (next, at) => {
    [id, editing] = [next, null];
    leaf = at ?? record()?.leaf ?? null;
    Store.open = id;
    tab(OPEN, id);
    if (record()) Settings.use(record().settings ?? {});
    refresh();
  };
  const fresh = () => {
    open(Records.newId("c"));
    Settings.use(Store.settings());
    tell();
    Dom.box("message")?.focus();
  };

  const go = (to, stay) => {
    leaf = to;
    if (!stay && record()) Store.change(id, (here) => (here.leaf = leaf));
    refresh();
  };

  // What the buttons under a turn do
  const ask = (what, nid, more) => Dom.send("ask", { what, n: Records.newId("q"), nid, keep: path().indexOf(nid) + 1, ...more });
  const act = (what, nid, more) => {
    Dom.send("act", { what, n: Records.newId("q"), nid, keep: path().indexOf(nid) + 1, ...more });
  };
  const do_ = {
    edit: (nid) => {
      if (!editing) kept = Dom.box("message").value;
      editing = nid;
      Dom.fill("message", node(nid).text);
      refresh();
      Dom.box("message").focus();
    },
    regenerate: (nid) => act("reply", node(nid).role === "user" ? nid : node(nid).parent),
    carryOn: (nid) => act("continue", nid),
    pin: (nid) => {
      Store.change(id, ({ nodes }) => {
        if (nodes[nid].pinned) delete nodes[nid].pinned;
        else nodes[nid].pinned = true;
      });
      refresh();
    },
    step: (nid) => go(Records.tip(record(), nid)),
    again: (nid) => act("again", nid, { receipt: node(nid).receipt }),
    saw: (nid) => ask("saw", nid, { dropped: node(nid).receipt?.dropped }),
    playground: (nid) => ask("playground", nid, { dropped: node(nid).receipt?.dropped }),
  };

  const cancelEdit = () => {
    editing = null;
    Dom.fill("message", kept);
    refresh();
  };
  const takeBack = () => {
    const turns = path();
    const message = turns.findLast((nid) => node(nid).role === "user");
    if (!message) return;
    Dom.fill("message", node(message).text);
    editing = null;
    go(node(message).parent);
  };
  const putBack = () => {
    const children = Records.family(record()).get(leaf ?? "");
    go(Records.tip(record(), children.at(-1)));
  };

  // News of a reply: {run, id, after, add, running, settings}. add: turns that stand behind `after`,
  // one behind the other, all that this run has brought so far.
  Dom.hear("news", (news, articles) => {
    const begins = news.run !== run;
    run = news.run;
    running = news.running ? news.id : null;
    const here = Store.get(news.id);
    const known = here ? news.after === null || Object.hasOwn(here.nodes, news.after) : news.after === null;
    const end = news.add.at(-1)?.nid ?? news.after;
    if (known) {
      const follow = news.id === id && (begins || leaf === news.after || news.add.some(({ nid }) => nid === leaf));
      if (news.add.length) {
        Store.change(news.id, (conversation) => add(conversation, news), Records.create(news.id, news.settings));
      }
      if (follow) {
        leaf = end;
        if (begins && news.add.length) editing = null;
        if (begins) tab(DRAFT, Dom.box("message").value);
      }
    }
    if (known && articles.length) Turns.rendered(end, articles[0]);
    refresh();
    if (!news.running && news.id === id && leaf === end) spoken.textContent = Dom.find("article:last-child .said", Turns.log)?.innerText ?? "";
  });
  const add = (conversation, { after, add: turns }) => {
    let parent = after;
    for (const { nid, role, content, ...more } of turns) {
      const known = conversation.nodes[nid];
      if (!known) conversation.nodes[nid] = { parent, ...Records.checkTurn({ role, text: content, ...more }, role) };
      parent = nid;
    }
    conversation.leaf = parent;
    conversation.title ||= Records.titleOf(turns[0].content);
  };

  // Answers to what was asked
  Dom.hear("told", (told) => {
    if (told.what === "saw") Receipts.saw(told);
    if (told.what === "again") Receipts.compared(told);
    if (told.what === "playground") hand(told);
  });
  // To the playground, and back from it: {id, keep, text, ids?} becomes another branch.
  let handed = null;
  const hand = (told) => {
    handed = told;
    Dom.send("to-playground", told);
  };
  Dom.hear("from-playground", (back) => {
    const there = Store.get(back.id);
    if (!there || !back.text) return;
    if (there.id !== id) open(there.id);
    const after = handed?.id === back.id && handed.keep === back.keep ? handed.after : path()[back.keep - 1];
    if (!there.nodes[after]) return;
    const turn = { nid: Records.newId("n"), role: "assistant", content: back.text, ids: back.ids };
    Store.change(id, (conversation) => add(conversation, { after, add: [turn] }));
    go(turn.nid);
    [...document.querySelectorAll('[role="tab"]')].find((tab) => tab.textContent.trim() === "Chat")?.click();
    Dom.say("The continuation is here as another version of the reply.");
  });

  // The bar above the transcript and the row below the box
  const title = el("h2", { id: "chat-title" });
  const undo = button("Undo", takeBack, { id: "undo", title: "Take the last exchange back into the box" });
  const redo = button("Redo", putBack, { id: "redo", title: "Go on to the newest turn that follows" });
  const cancel = button("Cancel", cancelEdit);
  const editBar = el("div", { id: "editing", hidden: true },
    el("p", { textContent: "Editing: sending makes another version of this message; the first one stays." }), cancel);
  const menuItem = (label, action) =>
    button(label, () => {
      files.open = false;
      action();
    });
  const files = el("details", { className: "menu", id: "export-menu" },
    el("summary", { textContent: "Export" }),
    el("div", {},
      menuItem("JSON", () => Files.json([record()])),
      menuItem("Markdown", () => Files.markdown(record(), leaf)),
      menuItem("HTML, one file", () => Files.html(record(), Turns.log.children, `${new Date().toLocaleString()} · ${Dom.find("#template-chip")?.textContent ?? ""}`))));
  const share = button("Share", async () => {
    try {
      const link = await Share.link(record(), leaf, Settings.get());
      const field = el("input", { readOnly: true, value: link, id: "share-link", "aria-label": "Link to this conversation" });
      const copy = button("Copy", (event) => Dom.copy(event.target, link), { className: "act" });
      banner.replaceChildren(
        el("p", { textContent: "Whoever has this link can read this conversation; it is in the link itself, on no server." }),
        field, copy, button("Close", () => banner.replaceChildren(), { className: "act" }));
      field.select();
    } catch (error) {
      Dom.say(error.message);
    }
  }, { id: "share" });
  const bar = el("div", { id: "chat-bar" },
    button("Chats", () => Sidebar.open(), { id: "chats-open", title: "Ctrl+/", "aria-label": "List of conversations" }),
    title, share, files);
  const banner = el("div", { id: "banner" });
  const spoken = el("div", { id: "spoken", className: "sr", "aria-live": "polite" });

  const offer = async () => {
    let shared;
    try {
      shared = await Share.open(location.hash);
    } catch (error) {
      return Dom.say(error.message);
    } finally {
      if (location.hash.startsWith("#chat=")) history.replaceState(null, "", location.pathname + location.search);
    }
    if (!shared) return;
    const count = Object.keys(shared.nodes).length;
    banner.replaceChildren(
      el("p", {}, "Someone shared a conversation with you: ", el("b", { textContent: shared.title || "untitled" }), `, ${count} ${count === 1 ? "turn" : "turns"}. It is kept in this browser once you open it.`),
      button("Open", () => {
        banner.replaceChildren();
        if (shared.settings.template && !Settings.knows(shared.settings.template)) delete shared.settings.template;
        Store.put(shared);
        open(shared.id);
      }, { className: "act", id: "open-shared" }),
      button("Dismiss", () => banner.replaceChildren(), { className: "act" }));
  };

  // /?prompt=NAME&q=TEXT puts both in place; nothing is sent.
  const start = () => {
    const asked = new URLSearchParams(location.search);
    if (!asked.has("prompt") && !asked.has("q")) return;
    const [name, text] = [asked.get("prompt"), asked.get("q")];
    if (name !== null && !Settings.knows(name)) return;
    fresh();
    if (name !== null) Settings.use({ ...Settings.get(), template: name });
    if (text) Dom.fill("message", text.slice(0, 32_000));
    history.replaceState(null, "", location.pathname + location.hash);
    tell();
  };

  Settings.listen((settings) => {
    if (record()) Store.change(id, (here) => (here.settings = settings));
    tell();
  });
  Store.listen((changed) => changed === id && draw());
  Dom.whenever("#transcript", (transcript) => {
    running = null;
    transcript.before(bar, banner);
    transcript.parentElement.prepend(Sidebar.nav);
    transcript.after(spoken);
  });
  Dom.whenever("#below", (below) => {
    below.append(undo, redo, Settings.toggle);
    below.before(Settings.panel);
  });
  Dom.whenever("#message", (message) => {
    message.before(editBar);
    const box = Dom.box("message");
    box.addEventListener("input", () => tab(DRAFT, box.value));
  });
  // Gradio's boxes can be filled from now on; after the server was lost, once more.
  Dom.hear("facts", () => {
    if (tab(DRAFT)) Dom.fill("message", tab(DRAFT));
    const last = id ?? tab(OPEN);
    open(last && Store.get(last) ? last : (id ?? Records.newId("c")), id ? leaf : undefined);
    if (!record()) Settings.use(Store.settings());
    Sidebar.say();
    start();
    offer();
  });
  addEventListener("hashchange", offer);

  document.addEventListener("keydown", (event) => {
    if (!Turns.log.offsetParent) return; // another tab of the page is shown
    const ctrl = event.ctrlKey || event.metaKey;
    if (ctrl && event.key === "k") {
      event.preventDefault();
      fresh();
    } else if (ctrl && event.key === "/") {
      event.preventDefault();
      Sidebar.open();
    } else if (event.key === "Escape" && !Dom.find("dialog[open]")) {
      Sidebar.close();
      files.open = false;
      Dom.find("#message .stop-button")?.click();
    }
  });

  return { open, fresh };
})();
