// The page's own behaviour beside the conversation: the buttons that the server rendered, scrolling,
// and what a screen reader hears.
(() => {
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button.act");
    if (!button) return;
    if (button.classList.contains("act-copy-code")) {
      Dom.copy(button, Dom.find(".code-text", button.closest(".code")).textContent);
    } else if (button.classList.contains("act-example")) {
      const number = [...button.classList].find((name) => name.startsWith("number-")).slice(7);
      Dom.send("act", { what: "example", n: Records.newId("q"), number: Number(number) });
    } else if (/act-(regenerate|continue|edit)/.test(button.className)) {
      pinned = true;
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

  Dom.whenever("#transcript", follow);
  Dom.whenever("#message textarea", (box) => matchMedia("(hover: hover)").matches && box.focus());
  Dom.whenever("#chat-status", speak);
})();
