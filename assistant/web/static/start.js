// A classic script within the page: puts the chosen colours on before anything is seen, shows the page
// once its modules run, so that nothing is typed into one that hears nothing, and says it where they
// do not.
(() => {
  const { body, documentElement } = document;
  body.style.visibility = "hidden";

  // frame/theme.js changes the choice. Gradio itself follows the system whatever was chosen, so its
  // class is put right as often as it changes.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const colour = () => {
    const { theme } = documentElement.dataset;
    const dark = theme === "dark" || (theme !== "light" && system.matches);
    body.classList.toggle("dark", dark);
    documentElement.style.colorScheme = dark ? "dark" : "light";
  };
  try {
    documentElement.dataset.theme = localStorage.getItem("tech-assistant/theme") ?? "system";
  } catch {
    // the store is blocked: as the system is
  }
  new MutationObserver(colour).observe(body, { attributeFilter: ["class"] });
  new MutationObserver(colour).observe(documentElement, { attributeFilter: ["data-theme"] });
  system.addEventListener("change", colour);
  colour();

  // A phone's keyboard takes its room from the page instead of covering the box.
  const view = document.querySelector("meta[name=viewport]");
  view?.setAttribute(
    "content",
    `${view.getAttribute("content")}, interactive-widget=resizes-content`,
  );

  import("./page/static/main.js")
    .catch((error) => {
      console.error(error);
      const sentence = "A part of this page did not load, so the chat cannot work. Load it again.";
      const told = Object.assign(document.createElement("p"), { textContent: sentence });
      told.setAttribute("role", "alert");
      told.style.cssText = "margin: 16px; font: 16px system-ui, sans-serif";
      body.prepend(told);
    })
    .finally(() => {
      body.style.visibility = "";
    });
})();
