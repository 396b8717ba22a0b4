// A classic script within the page: shows the page once its modules run, so that nothing is typed into
// one that hears nothing, and says it where they do not.
(() => {
  const { body } = document;
  body.style.visibility = "hidden";
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
