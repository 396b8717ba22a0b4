// A turn of the chat goes to the playground as a prompt, and a continuation comes back from there as
// another version of the reply. The playground's own script and tab do the rest.
(() => {
  const show = (name) =>
    [...document.querySelectorAll('[role="tab"]')]
      .find((tab) => tab.textContent.trim() === name)
      ?.click();

  let handed = null; // the turn that is open there
  let waits = null; // one that is sent once Gradio has built the tab, as it does when it is shown
  Dom.hear("told", (answer) => {
    if (answer.what !== "playground") return;
    handed = answer;
    if (Dom.find("#to-playground-go")) return Dom.send("to-playground", answer);
    waits = answer;
    show("Playground");
  });
  Dom.whenever("#to-playground-go", () =>
    requestAnimationFrame(() => {
      if (waits) Dom.send("to-playground", waits);
      waits = null;
    }),
  );

  // {id, keep, text, ids}: keep turns stood before the reply
  Dom.hear("from-playground", (back) => {
    const record = Store.get(back.id);
    if (!record || !back.text) return;
    const same = handed?.id === back.id && handed.keep === back.keep;
    const after = same ? handed.after : Records.path(record, record.leaf)[back.keep - 1];
    if (!record.nodes[after]) return;
    Chat.branch(back.id, after, back);
    show("Chat");
    Dom.say("The continuation is here as another version of the reply.");
  });
})();
