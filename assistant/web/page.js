// The page's own behaviour: the buttons inside the transcript, scrolling, and what a screen reader
// hears. Everything else is Gradio's.
(() => {
  const find = (selector) => document.querySelector(selector);

  const copy = async (button, text) => {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = label), 1500);
  };

  // An action on a turn goes to the server through a hidden box and a hidden button.
  const act = (name, turn) => {
    const box = find("#act textarea, #act input");
    box.value = `${name}:${turn}`;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    find("#act-go").click();
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button.act");
    if (!button) return;
    const name = [...button.classList].find((c) => c.startsWith("act-")).slice(4);
    const turn = [...button.classList].find((c) => c.startsWith("turn-")).slice(5);
    if (name === "copy-code") {
      copy(button, button.closest(".code").querySelector(".code-text").textContent);
    } else if (name === "copy-text") {
      const article = button.closest("article");
      copy(button, (article.querySelector(".raw") || article.querySelector(".said")).textContent);
    } else {
      pinned = true;
      act(name, turn);
      if (name === "edit") find("#message textarea")?.focus();
    }
  });

  // The transcript stays at its end while text arrives, unless the reader has scrolled away.
  let pinned = true;
  const follow = (area) => {
    const end = () => area.scrollHeight - area.clientHeight;
    area.addEventListener("scroll", () => (pinned = end() - area.scrollTop < 60));
    const stay = () => pinned && area.querySelector(".turn") && (area.scrollTop = end());
    new MutationObserver(stay).observe(area, {
      childList: true,
      subtree: true,
      characterData: true,
    });
    new ResizeObserver(stay).observe(area);
    area.setAttribute("tabindex", "0");
    area.setAttribute("role", "region");
    area.setAttribute("aria-label", "Conversation");
  };

  const speak = (status) => {
    status.setAttribute("role", "status");
    status.setAttribute("aria-live", "polite");
  };

  const seen = new WeakSet();
  const once = (selector, action) => {
    const element = find(selector);
    if (element && !seen.has(element)) {
      seen.add(element);
      action(element);
    }
  };
  new MutationObserver(() => {
    once("#transcript", follow);
    once("#message textarea", (box) => matchMedia("(hover: hover)").matches && box.focus());
    once("#chat-status", speak);
    once("#playground-status", speak);
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
