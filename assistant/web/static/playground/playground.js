// The playground's own behaviour: its buttons, the token inspector, files made in the page.
(() => {
  const { box, find, fill, el, button, copy, download, hear, send, whenever } = Dom;
  const numbers = (element) =>
    [...element.classList].filter((name) => /^at-\d+$/.test(name)).map((name) => Number(name.slice(3)));

  const DOORS = { take: "take", vote: "cast", reveal: "cast" }; // the box that an act goes to
  document.addEventListener("click", (event) => {
    const pressed = event.target.closest?.("button.play");
    if (!pressed) return;
    const act = [...pressed.classList].find((name) => name.startsWith("do-")).slice(3);
    if (act === "copy") copy(pressed, find(".written", pressed.closest(".card")).textContent);
    else send(DOORS[act] ?? "play", [act, ...numbers(pressed)]);
  });

  // The token inspector: pointing at a token or walking to it shows what else it could have been;
  // a click or Enter holds it, so that the way to the alternatives leads over no other token.
  const seen = (text) => text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "…";
  const percent = (logprob) => {
    if (logprob === null) return "not computed: the window has no room";
    const value = 100 * Math.exp(logprob);
    return value >= 0.1 ? `${value.toFixed(value < 10 ? 1 : 0)} %` : "< 0.1 %";
  };

  const inspect = (section) => {
    const [card] = numbers(section);
    const values = JSON.parse(find(".values", section).textContent);
    const tokens = [...section.querySelectorAll(".toks .tok")];
    const aside = find(".alts", section);
    let held = null;

    const choice = (at, [id, text, logprob]) => {
      const bar = el("i");
      bar.style.width = `${100 * Math.exp(logprob)}%`;
      const other = button("", () => send("play", ["branch", card, at, id]), { className: "alt" });
      other.append(el("code", {}, seen(text)), el("span", {}, percent(logprob)), bar);
      return el("li", {}, other);
    };
    const show = (at) => {
      const [logprob, text, top] = values[at];
      tokens.forEach((token, index) => token.classList.toggle("shown", index === at));
      aside.replaceChildren(
        el("p", {}, `Token ${at + 1}: `, el("code", {}, seen(text)), ` ${percent(logprob)}`),
        el("p", { className: "hint" }, top.length ? "Choose another to go on from it:" : ""),
        el("ol", {}, ...top.map((other) => choice(at, other))),
      );
    };
    const hold = (at) => {
      if (held !== null) tokens[held].classList.remove("held");
      held = at;
      if (at === null) return;
      tokens[at].classList.add("held");
      show(at);
    };
    const place = (event) => tokens.indexOf(event.target.closest?.(".toks .tok"));

    tokens.forEach((token, index) => {
      const [logprob, text] = values[index];
      token.setAttribute("role", "button");
      token.setAttribute("aria-label", `${seen(text)}, ${percent(logprob)}`);
      token.tabIndex = index ? -1 : 0;
    });
    section.addEventListener("mouseover", (event) => {
      const at = place(event);
      if (at >= 0 && held === null) show(at);
    });
    section.addEventListener("focusin", (event) => {
      const at = place(event);
      if (at < 0) return;
      tokens.forEach((token, index) => (token.tabIndex = index === at ? 0 : -1));
      if (held === null) show(at);
    });
    section.addEventListener("click", (event) => {
      const at = place(event);
      if (at >= 0) hold(held === at ? null : at);
    });
    section.addEventListener("keydown", (event) => {
      const at = place(event);
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape" && held !== null) {
        tokens[held].focus();
        hold(null);
      } else if (at >= 0 && step) {
        hold(null);
        tokens[Math.min(Math.max(at + step, 0), tokens.length - 1)].focus();
      } else if (at >= 0 && (event.key === "Enter" || event.key === " ")) {
        hold(at);
        find("button", aside)?.focus();
      } else return;
      event.preventDefault();
    });
    aside.setAttribute("aria-live", "polite");
    aside.append(el("p", { className: "hint" }, "Point at a token, or walk with the arrow keys."));
  };
  whenever("#inspector .inspector", inspect);

  for (const name of ["continue", "fill-in", "compare", "template"]) {
    whenever(`#${name}-status`, (status) => status.setAttribute("role", "status"));
  }

  // A turn that comes from the chat is shown where it arrives.
  const tab = (name) =>
    [...document.querySelectorAll('[role="tab"]')].find((tab) => tab.textContent.trim() === name);
  whenever("#to-playground-go", (door) =>
    door.addEventListener("click", () => {
      tab("Playground")?.click();
      tab("Continue")?.click();
    }),
  );

  // A saved question goes behind what stands in the chat's box; nobody sends it but the person.
  hear("to-chat", ({ text }) => {
    tab("Chat")?.click();
    const draft = box("message").value;
    fill("message", draft ? `${draft}\n\n${text}` : text);
    box("message").focus();
  });

  for (const name of ["compare", "template"]) {
    hear(`${name}-file`, (file) => download(file.name, file.type, file.text));
  }
})();
