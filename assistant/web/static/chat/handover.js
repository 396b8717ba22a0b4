// A turn of the chat goes to the playground as a prompt, and a continuation comes back from there as
// another version of the reply. The playground's own script and tab do the rest.

import * as box from "../composer/box.js";
import { say } from "../composer/status.js";
import { showTab } from "../lib/gradio.js";
import * as store from "../store/store.js";
import * as chat from "./chat.js";
import * as doing from "./doing.js";

/**
 * The playground's side. take: a prompt; what comes back from there goes through the two functions.
 * @param {(answer: any) => unknown} take
 */
export const toPlayground = (take) => doing.toPlayground(take);

/** A saved question goes behind what stands in the box; nobody sends it but the person. @param {string} text */
export const question = (text) => {
  showTab("Chat");
  box.put([box.text(), text].filter(Boolean).join("\n\n"));
  chat.recount();
  box.focus();
};

/**
 * A continuation as another version of the reply. id, after: the conversation and the turn that the
 * reply stood behind
 * @param {{id: string, after: string, text: string, ids: number[] | null}} reply
 */
export const back = (reply) => {
  const record = store.get(reply.id);
  const there =
    !!record && Object.hasOwn(record.nodes, reply.after) && !record.nodes[reply.after].gone;
  const { text, ids } = reply;
  if (there && text) chat.branch(reply.id, reply.after, ids ? { text, ids } : { text });
  showTab("Chat");
  if (!there) say("The conversation that this prompt came from is not here any more.");
  else if (!reply.text) say("The continuation is empty, so nothing was brought back.");
  else say("The continuation is here as another version of the reply.");
};
