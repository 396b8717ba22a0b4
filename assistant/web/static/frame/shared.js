// A conversation to be read only: its turns without anything to press but what stands in their code.
import { append, el, nodesOf } from "../lib/dom.js";
import * as records from "../lib/records.js";
import { ask } from "../lib/server.js";

/** @import {Conversation} from "../lib/records.js" */

const RENDER_CHARS = 40_000; // of replies that the server renders at once

/** Replies are shown to the letter until the server has rendered them.
 * @param {{said: HTMLElement, text: string}[]} replies */
const render = async (replies) => {
  for (let at = 0; at < replies.length; ) {
    const first = at;
    for (let chars = 0; at < replies.length && (at === first || chars < RENDER_CHARS); at++)
      chars += replies[at].text.length;
    const some = replies.slice(first, at);
    const { html } = await ask("render", {
      replies: some.map(({ text }) => ({ text, marks: [] })),
    });
    some.forEach(({ said }, index) => {
      said.replaceChildren();
      append(said, nodesOf(html[index]));
      said.classList.remove("plain");
    });
  }
};

/** Its open path, as it was checked. @param {Conversation} record */
export const view = (record) => {
  /** @type {Parameters<typeof render>[0]} */
  const replies = [];
  const turns = records.path(record, record.leaf).map((nid) => {
    const { role, text, edited } = record.nodes[nid];
    const user = role === "user";
    const said = el("div", {
      className: user ? "said" : "said plain",
      dir: "auto",
      textContent: text,
    });
    if (!user) replies.push({ said, text });
    const heading = user ? "They said" : "The assistant said";
    return el(
      "article",
      { className: `turn ${role}` },
      el("h3", { className: "sr", textContent: heading }),
      said,
      edited ? el("p", { className: "mark", textContent: "Written by hand" }) : null,
    );
  });
  render(replies).catch(() => {}); // they stay to the letter
  return el("div", { id: "shared" }, ...turns);
};
