// What the buttons under a turn do.
import { checkRanges, countOf, select } from "../composer/sent.js";
import * as settings from "../composer/settings.js";
import { line, offer, warn } from "../composer/status.js";
import { remove } from "../lib/deleting.js";
import * as records from "../lib/records.js";
import { ask } from "../lib/server.js";
import * as store from "../store/store.js";
import * as chat from "./chat.js";
import * as editing from "./editing.js";
import * as receipts from "./receipts.js";
import * as replies from "./replies.js";
import * as runs from "./runs.js";
import * as turns from "./turns.js";

/** @import {Acts} from "./acts.js" */
/** @import {Conversation} from "../lib/records.js" */

const open = () => /** @type {Conversation} */ (chat.current().record);
/** @param {string} nid */
const node = (nid) => open().nodes[nid];
/** The path to a turn, and that one. @param {string} nid */
const pathTo = (nid) => records.path(open(), nid);

/** @param {string} nid @param {"see" | "playground"} to */
const prompt = async (nid, to) => {
  const { id } = open();
  const { receipt } = node(nid);
  const behind = pathTo(nid);
  const chosen = receipt && checkRanges(receipt.left);
  const { turns: sent, left } = select(open(), behind, chosen);
  try {
    const answer = await ask("prompt", { turns: sent, settings: settings.get(), receipt, to });
    return { ...answer, id, after: behind.at(-2) ?? behind[0], left: answer.left + countOf(left) };
  } catch (error) {
    warn(/** @type {Error} */ (error).message, id);
    return null;
  }
};
/** @type {(answer: any) => unknown} */
let handOver = () => {};
/** @param {typeof handOver} by takes the prompt of a reply to the playground */
export const toPlayground = (by) => {
  handOver = by;
};

/** @param {string} nid @param {boolean} alone */
const takeOut = (nid, alone) => {
  const { id, leaf: was } = open();
  const leaf = chat.current().leaf;
  /** @type {(record: Conversation) => void} */
  let putBack = () => {};
  store.change(id, (here) => {
    here.leaf = leaf ?? was;
    putBack = remove(here, nid, alone);
  });
  chat.go(store.get(id)?.leaf ?? null);
  offer("Deleted.", "Undo", () => {
    store.change(id, putBack);
    if (chat.current().id === id) chat.go(store.get(id)?.leaf ?? null);
  });
  line.querySelector("button")?.focus(); // where the pressed one is gone
};

/** Turns of a path as new ones, so that they can stand elsewhere. @param {string[]} path */
const copied = (path) =>
  path.map((each) => {
    const { role, text, ids, pinned, edited, finish } = node(each);
    return { nid: records.newId("n"), role, text, ids, pinned, edited, finish };
  });

/** @type {Acts} */
export const do_ = {
  edit: (nid) => {
    const { id } = open();
    const { role, text, parent } = node(nid);
    const article = turns.element(id, nid);
    if (!article) return;
    const user = role === "user";
    editing.begin(article, {
      key: id + nid,
      fields: [{ label: user ? "Message" : "Reply", text }],
      done: user ? "Send" : "Save as a version",
      save: ([changed]) => {
        const before = parent ? records.path(open(), parent) : [];
        if (user) return chat.send(changed, before);
        if (!store.get(id)?.nodes[nid]) return false;
        const reply = { nid: records.newId("n"), role, text: changed.trim(), edited: true };
        store.change(id, (here) => records.add(here, parent, [reply]));
        chat.go(reply.nid);
      },
    });
  },
  insert: (nid) => {
    const { id } = open();
    const article = turns.element(id, nid);
    if (!article) return;
    editing.begin(article, {
      key: `${id}${nid}/next`,
      fields: [
        { label: "Message", text: "" },
        { label: "Reply", text: "" },
      ],
      done: "Insert",
      behind: true,
      save: ([text, answer]) => {
        if (runs.isRunning(id)) {
          warn("A reply is being written; insert the exchange when it is finished.");
          return false;
        }
        const path = chat.path();
        const behind = path.slice(path.indexOf(nid) + 1);
        const leaf = records.newId("n");
        /** @type {(records.Turn & {nid: string})[]} */
        const added = [
          { nid: records.newId("n"), role: "user", text },
          { nid: leaf, role: "assistant", text: answer.trim(), edited: true },
          ...copied(behind),
        ];
        store.change(id, (here) => records.add(here, nid, added));
        chat.go(added.at(-1)?.nid ?? leaf);
      },
    });
  },
  regenerate: (nid) =>
    chat.reply(pathTo(node(nid).role === "user" ? nid : (node(nid).parent ?? nid))),
  carryOn: (nid) => chat.reply(pathTo(nid)),
  pin: (nid) => {
    store.change(open().id, ({ nodes }) => {
      if (nodes[nid].pinned) delete nodes[nid].pinned;
      else nodes[nid].pinned = true;
    });
    chat.refresh();
  },
  step: (nid) => chat.go(records.tip(open(), nid)),
  again: (nid) => {
    const { id } = open();
    replies.again(id, pathTo(nid), node(nid).receipt ?? {}, (found) =>
      receipts.compared(id + nid, found),
    );
  },
  saw: async (nid) => {
    const answer = await prompt(nid, "see");
    if (answer) receipts.saw(answer);
  },
  playground: async (nid) => {
    const answer = await prompt(nid, "playground");
    if (answer) handOver(answer);
  },
  removeOne: (nid) => takeOut(nid, true),
  removeAll: (nid) => takeOut(nid, false),
};
chat.perform(do_);
