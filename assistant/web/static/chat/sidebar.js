// The list of conversations: beside the transcript, on narrow screens a drawer. Search, rename,
// delete with a way back, import, export, and what is to be said of the store.
const Sidebar = (() => {
  const { el, button } = Dom;
  const OLDEST = 20; // conversations that are offered for export at once
  let removed = null; // the last record that was deleted
  let offered = []; // what was exported to make room: {id, updated}

  const search = el("input", {
    type: "search",
    id: "chats-search",
    placeholder: "Search",
    "aria-label": "Search conversations",
    oninput: () => draw(),
  });
  const list = el("ul", { id: "chats-list" });
  const notice = el("div", { id: "chats-notice", role: "status" });
  const picker = el("input", {
    type: "file",
    accept: ".json,application/json",
    hidden: true,
    id: "chats-file",
  });
  const nav = el(
    "nav",
    { id: "chats", "aria-label": "Conversations" },
    el(
      "div",
      { className: "chats-top" },
      button(
        "New chat",
        () => {
          Chat.fresh();
          close();
        },
        { id: "chats-new", title: "Ctrl+K" },
      ),
      button("Close", () => close(), { className: "act chats-close" }),
    ),
    search,
    list,
    notice,
    el(
      "div",
      { className: "chats-below" },
      button("Import", () => picker.click(), { className: "act", id: "chats-import" }),
      button("Export all", () => Files.json(Store.all()), { className: "act", id: "chats-export" }),
      picker,
    ),
  );

  const words = (sentence, ...more) =>
    notice.replaceChildren(el("p", { textContent: sentence }), ...more);

  const when = (time) => {
    const then = new Date(time);
    const today = new Date().toDateString() === then.toDateString();
    return then.toLocaleString(
      "en",
      today ? { hour: "numeric", minute: "2-digit" } : { day: "numeric", month: "short" },
    );
  };

  const rename = (record, item) => {
    const field = el("input", {
      value: record.title,
      maxLength: Records.MAX.title,
      "aria-label": "New title",
    });
    let done = false;
    const end = (keep) => {
      if (done) return;
      done = true;
      const title = field.value.trim();
      field.remove();
      if (keep && title) Store.change(record.id, (here) => (here.title = title));
      draw();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") (event.stopPropagation(), end(false));
    });
    field.addEventListener("blur", () => end(true));
    item.replaceChildren(field);
    field.select();
  };

  const remove = (record) => {
    removed = Store.remove(record.id);
    Chat.gone(record.id);
    words(
      `Deleted: ${record.title}`,
      button(
        "Undo",
        () => {
          Store.put(removed);
          say();
        },
        { className: "act", id: "chats-undo" },
      ),
    );
  };

  const draw = () => {
    if (Dom.find("input", list)) return; // a title is being typed
    const wanted = search.value.trim().toLowerCase();
    const found = Store.all().filter(
      (record) =>
        !wanted || Records.words(record).some((text) => text.toLowerCase().includes(wanted)),
    );
    list.replaceChildren(
      ...found.map((record) => {
        const open = record.id === Store.open;
        const title = record.title || "Untitled";
        const item = el(
          "li",
          { className: open ? "open" : "" },
          el(
            "button",
            {
              type: "button",
              className: "chat-link",
              title,
              onclick: () => {
                Chat.open(record.id);
                close();
              },
              ...(open && { "aria-current": "true" }),
            },
            el("span", { className: "chat-title", textContent: title }),
            el("span", {
              className: "chat-when",
              textContent: Store.isUnsaved(record.id) ? "not saved" : when(record.updated),
            }),
          ),
          el(
            "span",
            { className: "chat-acts" },
            button("Rename", () => rename(record, item), {
              className: "act",
              "aria-label": `Rename ${title}`,
            }),
            button("Delete", () => remove(record), {
              className: "act",
              "aria-label": `Delete ${title}`,
            }),
          ),
        );
        return item;
      }),
    );
    if (!found.length) {
      list.append(
        el("li", {
          className: "none",
          textContent: wanted ? "Nothing found" : "No conversations yet",
        }),
      );
    }
  };

  // What is to be said of the store
  const say = () => {
    const { chars, part, near, unsaved, blocked, broken } = Store.state();
    const mega = (count) => (count / 1_000_000).toFixed(1);
    if (blocked) {
      return words(
        "This browser lets the page keep nothing: conversations end with it. Export what you need.",
      );
    }
    if (near || unsaved) {
      const full = unsaved
        ? `${unsaved} of them only in this page, since the store is full`
        : `${Math.round(100 * part)} % full`;
      const oldest = Store.all()
        .filter(({ id }) => id !== Store.open)
        .slice(-OLDEST);
      return words(
        `${Store.all().length} conversations, ${mega(chars)} of ${mega(Store.CHARS_MAX)} MB: ${full}.`,
        oldest.length
          ? button(
              `Export the oldest ${oldest.length}`,
              () => {
                Files.json(oldest);
                offered = oldest.map(({ id, updated }) => ({ id, updated }));
                words(
                  `The oldest ${offered.length} are in the file that was saved.`,
                  button(
                    "Remove them here",
                    () => {
                      for (const { id, updated } of offered) {
                        const here = Store.get(id); // what is read or grew since then stays
                        if (here?.updated === updated && id !== Store.open) Store.remove(id);
                      }
                      say();
                    },
                    { className: "act", id: "chats-remove-oldest" },
                  ),
                  button("Keep them", say, { className: "act" }),
                );
              },
              { className: "act", id: "chats-export-oldest" },
            )
          : null,
      );
    }
    if (broken)
      return words(
        `${broken} stored ${broken === 1 ? "conversation" : "conversations"} cannot be read; left as found.`,
      );
    notice.replaceChildren();
  };

  const load = async (file) => {
    try {
      const count = Files.take(await Files.read(file));
      words(`${count} ${count === 1 ? "conversation" : "conversations"} imported.`);
    } catch (error) {
      words(error.message);
    }
  };
  picker.addEventListener("change", async () => {
    if (picker.files.length) await load(picker.files[0]);
    picker.value = "";
  });

  const close = () => Dom.find("#chat")?.classList.remove("listing");
  const open = () => {
    Dom.find("#chat")?.classList.add("listing");
    search.focus();
  };

  Store.listen(() => {
    draw();
    if (Store.state().near || Store.state().unsaved) say();
  });
  Dom.whenever("#chats", say);

  return { nav, open, close, draw };
})();
