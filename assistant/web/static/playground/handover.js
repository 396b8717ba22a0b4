// A turn of the chat goes to the playground as a prompt, and a continuation comes back from there as
// another version of the reply. The playground's own script and tab do the rest.
(() => {
  const show = (name) =>
    [...document.querySelectorAll('[role="tab"]')]
      .find((tab) => tab.textContent.trim() === name)
      ?.click();

  let waits = null; // one that is sent once Gradio has built the tab, as it does when it is shown
  Dom.hear("told", (answer) => {
    if (answer.what !== "playground") return;
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

  // {id, after, text, ids}: the conversation and the turn that the reply stood behind
  Dom.hear("from-playground", (back) => {
    const record = Store.get(back.id);
    const there = !!record && Object.hasOwn(record.nodes, back.after);
    if (there && back.text) Chat.branch(back.id, back.after, back);
    show("Chat");
    if (!there) Dom.say("The conversation that this prompt came from is not here any more.");
    else if (!back.text) Dom.say("The continuation is empty, so nothing was brought back.");
    else Dom.say("The continuation is here as another version of the reply.");
  });
})();
