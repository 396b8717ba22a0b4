// The token ledger of the next message: a bar in real tokens, counted by the server while the draft
// is typed, and the same as words.
const Ledger = (() => {
  const { el } = Dom;
  const PAUSE_MS = 300;
  const SENT_MAX = 1_000_000; // bytes of path and draft as they are sent; the server takes 2 ** 20
  const PARTS = ["preamble", "pinned", "history", "draft", "reply"];
  const NAMES = {
    preamble: "template",
    pinned: "pinned",
    history: "history",
    draft: "draft",
    reply: "room for the reply",
  };
  const count = (value) => value.toLocaleString("en");

  const bars = Object.fromEntries(
    PARTS.map((part) => [part, el("i", { className: `part ${part}` })]),
  );
  const bar = el("div", { className: "ledger-bar", "aria-hidden": "true" }, ...Object.values(bars));
  const words = el("p", { id: "ledger-words" });
  const view = el(
    "div",
    { id: "ledger", role: "group", "aria-label": "Tokens of the next message" },
    bar,
    words,
  );
  let timer = null;
  let number = 0;

  const ask = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      number++;
      const sent = JSON.stringify([Dom.box("path")?.value, Dom.box("message")?.value]);
      const size = new TextEncoder().encode(sent).length;
      if (size <= SENT_MAX) Dom.send("count", { n: number });
      else
        tell({
          n: number,
          error: `Conversation and draft have ${count(size)} bytes, more than can be sent: ${count(SENT_MAX)}.`,
        });
    }, PAUSE_MS);
  };

  const tell = (data) => {
    if (data.n !== number) return;
    view.classList.toggle("over", !!data.error);
    if (data.error) {
      words.replaceChildren(data.error);
    } else {
      for (const part of PARTS) bars[part].style.width = `${(100 * data[part]) / data.window}%`;
      const used = PARTS.reduce((sum, part) => sum + data[part], 0);
      const shown = PARTS.filter((part) => data[part]).map((part) =>
        el("span", { className: `key ${part}` }, `${NAMES[part]} ${count(data[part])}`),
      );
      words.replaceChildren(
        ...shown,
        el("span", { className: "key" }, `${count(used)} of ${count(data.window)} tokens`),
      );
    }
    Turns.mark(data.dropped ?? []);
  };
  Dom.hear("counted", tell);
  Dom.whenever("#message", (message) => {
    message.before(view);
    Dom.box("message").addEventListener("input", ask);
    Dom.box("message").setAttribute("aria-describedby", "ledger-words");
  });

  return { ask };
})();
