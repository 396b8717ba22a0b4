// The open conversation: which one it is, which of its paths is shown, and what its buttons do.

import * as box from "../composer/box.js";
import * as ledger from "../composer/ledger.js";
import { checkRanges, countOf, select } from "../composer/sent.js";
import * as settings from "../composer/settings.js";
import * as status from "../composer/status.js";
import { button, el, find } from "../lib/dom.js";
import * as records from "../lib/records.js";
import { ask } from "../lib/server.js";
import * as store from "../store/store.js";
import * as receipts from "./receipts.js";
import * as replies from "./replies.js";
import * as runs from "./runs.js";
import { toEnd } from "./transcript.js";
import * as turns from "./turns.js";

/** @import {Acts} from "./acts.js" */
/** @import {Conversation} from "../lib/records.js" */

const OPEN = "tech-assistant/open"; // in the tab's own store

let id = "";
/** @type {string | null} */
let leaf = null; // the newest turn that is shown
/** @type {string | null} */
let editing = null; // the message that is in the box again
let kept = ""; // the draft, while a message is edited
let taken = { put: "", draft: "" }; // what Undo put into the box, and what of it was a draft
/** @type {((record: Conversation | undefined) => unknown)[]} */
const drawn = [];

const record = () => store.get(id);
const path = () => {
  const here = record();
  return here ? records.path(here, leaf) : [];
};
/** The path to a turn, and that one. @param {string} nid */
const pathTo = (nid) => records.path(/** @type {Conversation} */ (record()), nid);
/** A turn of the open conversation. @param {string} nid */
const node = (nid) => /** @type {Conversation} */ (record()).nodes[nid];
/** The turns that a message would stand behind. */
const before = () => (editing ? path().slice(0, path().indexOf(editing)) : path());

const draw = () => {
  const here = record();
  const running = runs.isRunning(id);
  const [growing, pending] = [replies.growingOf(id), replies.pendingOf(id)];
  // A message that is on its way stands behind the turn that it was sent behind.
  const shown = pending ? pending.after : leaf;
  turns.show(here, shown, { running, growing, pending: pending?.text, editing, do_ });
  box.show(running);
  undo.disabled = !here || !leaf || running;
  redo.hidden = running || !here || !records.family(here).has(leaf ?? "");
  editBar.hidden = !editing;
  for (const listener of drawn) listener(here);
};
/** Counts the tokens of the next message anew. */
export const recount = () => ledger.count(record(), before(), settings.get());
const endEdit = () => {
  if (!editing) return;
  editing = null;
  box.put(kept);
};
const refresh = () => {
  if (editing && !path().includes(editing)) endEdit();
  draw();
  if (!runs.isRunning(id)) recount(); // else it is counted with the reply's end
};

/** @param {string} next @param {string | null} [at] the newest turn that is shown */
export const open = (next, at) => {
  endEdit();
  id = next;
  leaf = at ?? replies.growingOf(id) ?? record()?.leaf ?? null;
  store.show(id);
  store.ofTab(OPEN, id);
  box.open(id);
  replies.restore(id);
  status.show(id);
  const here = record();
  settings.use(here ? (here.settings ?? {}) : store.settings());
  refresh();
};
export const fresh = () => {
  open(records.newId("c"));
  box.focus();
};
/** @param {string | null} to */
const go = (to) => {
  leaf = to;
  store.change(id, (here) => {
    here.leaf = to;
  });
  refresh();
};

/** @param {string} text @param {boolean} typed whether it stood in the box */
const send = (text, typed) => {
  const refused = box.tooLong(text);
  if (refused) return status.say(refused);
  const behind = before();
  if (typed) {
    box.put(editing ? kept : "");
    editing = null;
  }
  ledger.cancel(); // the reply's end brings the next count
  replies.write({ id, path: behind, settings: settings.get(), text, typed });
  toEnd();
};

// What the buttons under a turn do
/** @param {string} nid @param {"see" | "playground"} to */
const prompt = async (nid, to) => {
  const of = id;
  const { receipt } = node(nid);
  const behind = pathTo(nid);
  const chosen = receipt && checkRanges(receipt.left);
  const { turns: sent, left } = select(/** @type {Conversation} */ (record()), behind, chosen);
  try {
    const answer = await ask("prompt", { turns: sent, settings: settings.get(), receipt, to });
    return {
      ...answer,
      id: of,
      after: behind.at(-2) ?? behind[0],
      left: answer.left + countOf(left),
    };
  } catch (error) {
    status.say(/** @type {Error} */ (error).message, of);
    return null;
  }
};
/** @param {string[]} behind */
const reply = (behind) => {
  replies.write({ id, path: behind, settings: settings.get() });
  toEnd();
};
/** @param {string} nid */
const newestBelow = (nid) => records.tip(/** @type {Conversation} */ (record()), nid);
/** @type {(answer: any) => unknown} */
let handOver = () => {};
/** @param {typeof handOver} by takes the prompt of a reply to the playground */
export const toPlayground = (by) => {
  handOver = by;
};
/** @type {Acts} */
const do_ = {
  edit: (nid) => {
    if (!editing) kept = box.text();
    editing = nid;
    box.put(node(nid).text);
    refresh();
    box.focus();
  },
  regenerate: (nid) => reply(pathTo(node(nid).role === "user" ? nid : (node(nid).parent ?? nid))),
  carryOn: (nid) => reply(pathTo(nid)),
  pin: (nid) => {
    store.change(id, ({ nodes }) => {
      if (nodes[nid].pinned) delete nodes[nid].pinned;
      else nodes[nid].pinned = true;
    });
    refresh();
  },
  step: (nid) => go(newestBelow(nid)),
  again: (nid) =>
    replies.again(id, pathTo(nid), node(nid).receipt ?? {}, (found) =>
      receipts.compared(nid, found),
    ),
  saw: async (nid) => {
    const answer = await prompt(nid, "see");
    if (answer) receipts.saw(answer);
  },
  playground: async (nid) => {
    const answer = await prompt(nid, "playground");
    if (answer) handOver(answer);
  },
};
const cancelEdit = () => {
  endEdit();
  refresh();
};
const takeBack = () => {
  const message = path().findLast((nid) => node(nid).role === "user");
  if (!message) return;
  endEdit();
  const value = box.text();
  const draft = value === taken.put ? taken.draft : value;
  taken = { put: [node(message).text, draft].filter(Boolean).join("\n\n"), draft };
  box.put(taken.put);
  go(node(message).parent);
};
const putBack = () => {
  const here = record();
  const next =
    here &&
    records
      .family(here)
      .get(leaf ?? "")
      ?.at(-1);
  if (next) go(newestBelow(next));
};

/**
 * A reply from elsewhere, as another version behind the turn `after`
 * @param {string} of a conversation @param {string} after @param {{text: string, ids?: number[]}} reply
 */
export const branch = (of, after, { text, ids }) => {
  if (of !== id) open(of);
  const nid = records.newId("n");
  store.change(of, (conversation) =>
    records.add(conversation, after, [{ nid, role: "assistant", text, ids }]),
  );
  go(nid);
};

export const stop = () => runs.stop(id);
/** A conversation was deleted. @param {string} which */
export const gone = (which) => {
  runs.stop(which);
  if (id === which) fresh();
};

// Around the box
const undo = button("Undo", takeBack, {
  id: "undo",
  title: "Take the last exchange back into the box",
});
const redo = button("Redo", putBack, {
  id: "redo",
  title: "Go on to the newest turn that follows",
});
const editBar = el(
  "div",
  { id: "editing", hidden: true },
  el("p", {
    textContent: "Editing: sending makes another version of this message; this one stays.",
  }),
  button("Cancel", cancelEdit),
);
const spoken = el("div", { id: "spoken", className: "sr", "aria-live": "polite" });
/** What stands below the transcript, without the notice. */
export const composer = [
  editBar,
  ledger.view,
  box.view,
  settings.panel,
  el("div", { id: "below" }, status.line, undo, redo, settings.toggle),
  spoken,
];

box.listen({ send: (text) => send(text, true), stop, type: recount });
ledger.listen(turns.mark);
turns.offer((text) => send(text, false));
replies.listen((of, nid, counted) => {
  const ended = !runs.isRunning(of);
  if (of !== id) return list();
  // Who has gone to another branch meanwhile stays there.
  const there = !leaf || !nid || replies.growingOf(of) === nid || leaf === nid;
  if (nid && there) leaf = nid;
  if (counted && leaf === nid && !box.text()) {
    draw();
    ledger.show(...counted);
  } else refresh();
  if (ended && nid && leaf === nid) {
    // biome-ignore lint/performance/useDomNodeTextContent: what is not shown is not spoken
    spoken.textContent = find("article:last-child .said", turns.log)?.innerText ?? "";
  }
});
settings.listen((chosen) => {
  if (record()) {
    store.change(id, (here) => {
      here.settings = chosen;
    });
  }
  recount();
});
store.listen((changed) => {
  if (changed === id) draw();
});

/** Tells who lists conversations that one began to write, or ended. */
const list = () => {
  for (const listener of drawn) listener(record());
};
/** Opens what was open when the page was left. */
export const start = () => {
  open(store.ofTab(OPEN) ?? records.newId("c"));
};

export const current = () => ({ id, record: record(), leaf });
/** @param {(record: Conversation | undefined) => unknown} listener told what is shown, each time */
export const listen = (listener) => drawn.push(listener);
