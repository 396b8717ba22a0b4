// A turn of the chat goes to the playground as a prompt, and a continuation comes back from there as
// another version of the reply. The playground's own script and tab do the rest.
import { find } from "../lib/dom.js";
import { hear, say, send, showTab, whenever } from "../lib/gradio.js";
import * as store from "../lib/store.js";
import * as chat from "./chat.js";

/** @type {unknown} */
let waits = null; // one that is sent once Gradio has built the tab, as it does when it is shown
hear("told", (answer) => {
  if (answer.what !== "playground") return;
  if (find("#to-playground-go")) return send("to-playground", answer);
  waits = answer;
  showTab("Playground");
});
whenever("#to-playground-go", () =>
  requestAnimationFrame(() => {
    if (waits) send("to-playground", waits);
    waits = null;
  }),
);

// {id, after, text, ids}: the conversation and the turn that the reply stood behind
hear("from-playground", (back) => {
  const record = store.get(back.id);
  const there = !!record && Object.hasOwn(record.nodes, back.after);
  if (there && back.text) chat.branch(back.id, back.after, back);
  showTab("Chat");
  if (!there) say("The conversation that this prompt came from is not here any more.");
  else if (!back.text) say("The continuation is empty, so nothing was brought back.");
  else say("The continuation is here as another version of the reply.");
});
