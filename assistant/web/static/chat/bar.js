// The bar above the transcript: the title, a link to share, files to export. What a link or the
// page's address brings is put in place here, and nothing of it is sent unasked.
(() => {
  const { el, button, say } = Dom;
  const title = el("h2", { id: "chat-title" });
  const banner = el("div", { id: "banner" });

  const share = async () => {
    const { record, leaf } = Chat.current();
    try {
      const link = await Share.link(record, leaf, Settings.get());
      const field = el("input", {
        readOnly: true,
        value: link,
        id: "share-link",
        "aria-label": "Link to this conversation",
      });
      banner.replaceChildren(
        el("p", {
          textContent:
            "Whoever has this link can read the conversation as it is shown: the link itself holds it, no server.",
        }),
        field,
        button("Copy", (event) => Dom.copy(event.target, link), { className: "act" }),
        button("Close", () => banner.replaceChildren(), { className: "act" }),
      );
      field.select();
    } catch (error) {
      say(error.message);
    }
  };

  const item = (label, save) =>
    button(label, () => {
      menu.open = false;
      const { record, leaf } = Chat.current();
      save(record, leaf);
    });
  const about = (record) =>
    `${new Date(record.updated).toLocaleString("en")} · ${Dom.find("#template-chip").textContent}`;
  const menu = el(
    "details",
    { className: "menu", id: "export-menu" },
    el("summary", { textContent: "Export" }),
    el(
      "div",
      {},
      item("JSON", (record) => Files.json([record])),
      item("Markdown", Files.markdown),
      item("HTML, one file", (record) =>
        Files.html(record, [...Turns.log.children], about(record)),
      ),
    ),
  );
  const sharing = button("Share", share, { id: "share" });
  const bar = el(
    "div",
    { id: "chat-bar" },
    button("Chats", () => Sidebar.open(), { id: "chats-open", title: "Ctrl+/" }),
    title,
    sharing,
    menu,
  );
  const unsaved = el("p", {
    id: "unsaved",
    role: "status",
    textContent:
      "Not saved: the browser's store is full or blocked. Export this conversation, or delete others.",
  });
  Chat.listen((record) => {
    unsaved.hidden = !record || !Store.isUnsaved(record.id);
    title.textContent = record?.title || "New chat";
    sharing.hidden = menu.hidden = !record;
  });
  Dom.whenever("#transcript", (transcript) => {
    transcript.before(bar, unsaved, banner);
    transcript.parentElement.prepend(Sidebar.nav);
  });
  // The page's own clicks on its hidden doors close nothing.
  document.addEventListener("click", ({ target, isTrusted }) => {
    if (isTrusted && !menu.contains(target)) menu.open = false;
  });

  // A link that somebody shared: said, and opened at a click.
  const offer = async () => {
    if (!location.hash.startsWith("#chat=")) return;
    const end = () => {
      banner.replaceChildren();
      history.replaceState(null, "", location.pathname + location.search);
    };
    try {
      const shared = await Share.open(location.hash);
      const count = Object.keys(shared.nodes).length;
      const turns = `${count} ${count === 1 ? "turn" : "turns"}`;
      banner.replaceChildren(
        el(
          "p",
          {},
          "Someone shared a conversation with you: ",
          el("b", { textContent: shared.title || "untitled" }),
          ` (${turns}).`,
        ),
        button(
          "Open",
          () => {
            end();
            Store.put(shared);
            Chat.open(shared.id);
          },
          { className: "act", id: "open-shared" },
        ),
        button("Dismiss", end, { className: "act" }),
      );
    } catch (error) {
      end();
      say(error.message);
    }
  };

  // /?prompt=NAME&q=TEXT puts template and question in place.
  const start = () => {
    const asked = new URLSearchParams(location.search);
    const [name, text] = [asked.get("prompt"), asked.get("q")];
    if (name === null && text === null) return;
    history.replaceState(null, "", location.pathname + location.hash);
    Chat.fresh();
    if (text !== null) Dom.fill("message", text.slice(0, Records.MAX.message));
    if (name !== null && Settings.knows(name)) Settings.use({ ...Settings.get(), template: name });
    else if (name !== null) say(`There is no prompt template ${name.slice(0, 60)} on this server.`);
    Chat.tell();
  };

  Dom.hear("facts", () => {
    start();
    offer();
    addEventListener("hashchange", offer); // once, however often it is said
  });

  document.addEventListener("keydown", (event) => {
    if (!Turns.log.offsetParent) return; // another tab of the page is shown
    const ctrl = event.ctrlKey || event.metaKey;
    if (ctrl && event.key === "k") Chat.fresh();
    else if (ctrl && event.key === "/") Sidebar.open();
    else if (event.key === "Escape" && !Dom.find("dialog[open]")) {
      Sidebar.close();
      menu.open = false;
      Chat.stop();
      return;
    } else return;
    event.preventDefault();
  });
})();
