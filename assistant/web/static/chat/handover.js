// A turn of the chat goes to the playground as a prompt, and a continuation comes back from there as
// another version of the reply. The playground's own script and tab do the rest.

import * as box from "../composer/box.js";
import { say } from "../composer/status.js";
import { find } from "../lib/dom.js";
import { hear, send, showTab, whenever } from "../lib/gradio.js";
import * as store from "../store/store.js";
import * as chat from "./chat.js";

/** @type {unknown} */
let waits = null; // one that is sent once Gradio has built the tab, as it does when it is shown
chat.toPlayground((answer) => {
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

// A saved question goes behind what stands in the chat's box; nobody sends it but the person.
hear("to-chat", ({ text }) => {
  showTab("Chat");
  box.put([box.text(), text].filter(Boolean).join("\n\n"));
  chat.recount();
  box.focus();
});

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
