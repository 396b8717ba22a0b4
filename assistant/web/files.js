// Conversations as files: JSON that can be read again, Markdown, and one HTML file that needs no
// server and runs no script. What is read is checked by Records; a broken file changes nothing.
const Files = (() => {
  const FORMAT = "tech-assistant";
  const BYTES_MAX = 20_000_000;

  const STYLE = `
    :root { color-scheme: light dark; --ink: light-dark(#1e2430, #e7eaf0);
      --soft: light-dark(#566072, #a2abba); --line: light-dark(#dfe3ea, #2f3644);
      --paper: light-dark(#f5f6f9, #1b202a); --accent: light-dark(#4147c9, #a9aeff);
      --keyword: light-dark(#7a2fb5, #cda2f5); --string: light-dark(#19692c, #93d3a2);
      --comment: light-dark(#5d6775, #97a1b1); --name: light-dark(#1b57b8, #92bcff);
      --number: light-dark(#a04708, #f0b285); }
    body { max-width: 820px; margin: 0 auto; padding: 24px 16px 48px; color: var(--ink);
      background: light-dark(#ffffff, #12151c); font: 15px/1.6 system-ui, sans-serif; }
    h1 { font-size: 22px; line-height: 1.3; } a { color: var(--accent); }
    .about, .mark, h3.sr { color: var(--soft); font-size: 12.5px; font-weight: 400; }
    h3.sr { margin: 20px 0 4px; } .turn { overflow-wrap: anywhere; }
    .user .said { width: fit-content; max-width: 85%; padding: 8px 14px; border-radius: 14px;
      border: 1px solid var(--line); background: var(--paper); white-space: pre-wrap; }
    .plain { white-space: pre-wrap; } .said > :first-child { margin-top: 0; }
    .code { margin: 12px 0; border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
    .code-head { padding: 3px 14px; border-bottom: 1px solid var(--line); color: var(--soft);
      font-size: 12px; min-height: 18px; }
    pre, code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 13px; }
    pre { margin: 0; padding: 10px 14px; overflow-x: auto; } table { border-collapse: collapse; }
    th, td { padding: 4px 12px; border: 1px solid var(--line); text-align: left; }
    .code-text [class^="k"] { color: var(--keyword); } .code-text :is([class^="s"], .gi) { color: var(--string); }
    .code-text [class^="c"] { color: var(--comment); } .code-text :is([class^="m"], .gd) { color: var(--number); }
    .code-text :is(.nf, .nc, .nb, .nd, .nt) { color: var(--name); }`;

  const nameOf = (title, ending) => {
    const words = title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]+/gu, "-")
      .replace(/^-+|-+$/g, "");
    return `${words.slice(0, 40) || "conversation"}.${ending}`;
  };
  const day = (time) => new Date(time).toISOString().slice(0, 10);

  const json = (records) => {
    const text = JSON.stringify({ format: FORMAT, v: 1, conversations: records }, null, 1);
    const name = records.length === 1 ? records[0].title : `conversations-${day(Date.now())}`;
    Dom.download(nameOf(name, "json"), "application/json", text);
  };

  const markdown = (record, leaf) => {
    const parts = [`# ${record.title}`, `*${day(record.updated)}*`];
    for (const nid of Records.path(record, leaf)) {
      const { role, text } = record.nodes[nid];
      parts.push(role === "user" ? "## Question" : "## Reply", text || "*No text came back.*");
    }
    Dom.download(nameOf(record.title, "md"), "text/markdown", parts.join("\n\n") + "\n");
  };

  // articles: the turns as the page shows them
  const html = (record, articles, about) => {
    const page = document.implementation.createHTMLDocument(record.title);
    page.documentElement.lang = "en";
    page.head.insertAdjacentHTML(
      "afterbegin",
      `<meta charset="utf-8"><meta name="viewport" content="width=device-width">
      <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    );
    page.head.append(Dom.el("style", { textContent: STYLE }));
    page.body.append(
      Dom.el("h1", { textContent: record.title }),
      Dom.el("p", { className: "about", textContent: about }),
    );
    for (const article of articles) {
      const copy = article.cloneNode(true);
      copy.querySelectorAll("button, details, .left-out, .acts").forEach((part) => part.remove());
      page.body.append(copy);
    }
    const text = "<!doctype html>\n" + page.documentElement.outerHTML;
    Dom.download(nameOf(record.title, "html"), "text/html", text);
  };

  // The records of a file, all of them or an Error that says why there are none.
  const read = async (file) => {
    const fail = (reason) => {
      throw new Error(`The file ${file.name} cannot be read: ${reason}.`);
    };
    if (file.size > BYTES_MAX) fail(`it has more than ${BYTES_MAX / 1_000_000} MB`);
    let value;
    try {
      value = JSON.parse(await file.text());
    } catch {
      fail("it is not JSON");
    }
    const found = value?.format === FORMAT && value.conversations;
    if (!Array.isArray(found) || !found.length) fail("it holds no conversations of this page");
    if (found.length > Store.COUNT_MAX) fail(`it holds more than ${Store.COUNT_MAX} conversations`);
    try {
      return found.map(Records.check);
    } catch (error) {
      fail(error.message);
    }
  };

  // How many conversations came in. Where one with this id is here already, their turns are joined,
  // unless they differ: then it comes in as another.
  const take = (records) => {
    for (const record of records) {
      const here = Store.get(record.id);
      const alike = (one, other) =>
        ["text", "role", "parent"].every((name) => one[name] === other[name]);
      const same = (nid) => !here.nodes[nid] || alike(here.nodes[nid], record.nodes[nid]);
      if (here && !Object.keys(record.nodes).every(same)) record.id = Records.newId("c");
      Store.put(record);
    }
    return records.length;
  };

  return { json, markdown, html, read, take };
})();
