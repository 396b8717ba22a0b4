// The open conversation: which one it is, which of its paths is shown, and what is sent of it.
import * as box from "../composer/box.js";
import * as ledger from "../composer/ledger.js";
import * as settings from "../composer/settings.js";
import * as status from "../composer/status.js";
import { tools } from "../composer/tools.js";
import { button, el, find } from "../lib/dom.js";
import * as records from "../lib/records.js";
import * as store from "../store/store.js";
import * as replies from "./replies.js";
import * as runs from "./runs.js";
import { toEnd } from "./transcript.js";
import * as turns from "./turns.js";

/** @import {Acts} from "./acts.js" */
/** @import {Conversation} from "../lib/records.js" */

const OPEN = "tech-assistant/open"; // in the tab's own store
const SYSTEM = "tech-assistant/system/"; // and the id of a conversation that is not begun yet

let id = "";
/** @type {string | null} */
let leaf = null; // the newest turn that is shown
let taken = { put: "", draft: "" }; // what Undo put into the box, and what of it was a draft
/** @type {((record: Conversation | undefined) => unknown)[]} */
const drawn = [];
/** @type {(() => unknown)[]} */
const opened = [];
/** @param {() => unknown} listener told when a conversation is opened */
export const listenOpen = (listener) => opened.push(listener);
/** @type {Acts} */
let do_;
/** @param {Acts} by what the buttons under turns do */
export const perform = (by) => {
  do_ = by;
};

const record = () => store.get(id);
/** The turns that are shown. */
export const path = () => {
  const here = record();
  return here ? records.path(here, leaf) : [];
};
/** A turn of the open conversation. @param {string} nid */
const node = (nid) => /** @type {Conversation} */ (record()).nodes[nid];

const draw = () => {
  const here = record();
  const running = runs.isRunning(id);
  const [growing, pending] = [replies.growingOf(id), replies.pendingOf(id)];
  // A message that is on its way stands behind the turn that it was sent behind.
  const shown = pending ? pending.after : leaf;
  turns.show(here, shown, { running, growing, pending: pending?.text, do_ });
  box.show(running);
  undo.disabled = !here || !path().length || running;
  redo.hidden = running || !here || !records.family(here).has(leaf ?? "");
  for (const listener of drawn) listener(here);
};
/** Counts the tokens of the next message anew. */
export const recount = () => ledger.count(record(), path(), settings.get());
/** Shows what has changed. */
export const refresh = () => {
  draw();
  if (!runs.isRunning(id)) recount(); // else it is counted with the reply's end
};

/** @param {string} next @param {string | null} [at] the newest turn that is shown */
export const open = (next, at) => {
  ledger.cancel();
  box.bar("");
  for (const listener of opened) listener();
  id = next;
  leaf = at ?? replies.growingOf(id) ?? record()?.leaf ?? null;
  store.show(id);
  store.ofTab(OPEN, id);
  box.open(id);
  replies.restore(id);
  status.show(id);
  const here = record();
  const system = store.ofTab(SYSTEM + id) || undefined;
  settings.use(here ? (here.settings ?? {}) : { ...store.settings(), system });
  refresh();
};
export const fresh = () => {
  open(records.newId("c"));
  box.focus();
};
/** Shows the path to a turn. @param {string | null} to */
export const go = (to) => {
  leaf = to;
  store.change(id, (here) => {
    here.leaf = to;
  });
  refresh();
};

let allowed = () => true;
/** @param {() => boolean} by tells whether the model may be asked, and says it where it may not */
export const guard = (by) => {
  allowed = by;
};
/**
 * Whether a message was sent; where it was not, it was said why.
 * @param {string} text @param {string[]} [behind] @param {string} [begin]
 * @param {boolean} [boxed] whether it stands in the box
 */
export const send = (text, behind = path(), begin = "", boxed = false) => {
  const refused = box.tooLong(text) || (runs.isRunning(id) ? replies.BUSY : "");
  if (refused) status.warn(refused);
  if (refused || !allowed()) return false;
  if (boxed) box.empty();
  ledger.cancel(); // the reply's end brings the next count
  replies.write({ id, path: behind, settings: settings.get(), text, begin });
  toEnd();
  return true;
};
/** Another reply behind a message, or more of a reply. @param {string[]} behind */
export const reply = (behind) => {
  if (!allowed()) return;
  const begin = node(behind.at(-1) ?? "")?.role === "user" ? box.begin() : "";
  replies.write({ id, path: behind, settings: settings.get(), begin });
  toEnd();
};

const takeBack = () => {
  const message = path().findLast((nid) => node(nid).role === "user");
  if (!message) return;
  const value = box.message();
  const draft = value === taken.put ? taken.draft : value;
  box.put("");
  box.leaveOut();
  box.giveBack(id, draft);
  box.giveBack(id, node(message).text);
  taken = { put: box.message(), draft };
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
  if (next) go(records.tip(here, next));
};

/**
 * A reply from elsewhere, as another version behind the turn `after`
 * @param {string} of a conversation @param {string} after @param {{text: string, ids?: number[] | null}} reply
 */
export const branch = (of, after, { text, ids }) => {
  if (of !== id) open(of);
  const nid = records.newId("n");
  store.change(of, (conversation) =>
    records.add(conversation, after, [{ nid, role: "assistant", text, ids: ids ?? undefined }]),
  );
  go(nid);
};

export const stop = () => runs.stop(id);
/** A conversation was deleted. @param {string} which */
export const gone = (which) => {
  runs.stop(which);
  if (id === which) fresh();
};

const undo = button("↶", takeBack, {
  id: "undo",
  title: "Undo: take the last exchange back into the box",
  "aria-label": "Undo the last exchange",
});
const redo = button("↷", putBack, {
  id: "redo",
  title: "Redo: go on to the newest turn that follows",
  "aria-label": "Redo",
});
tools.append(undo, redo, ledger.toggle);
const spoken = el("div", { id: "spoken", className: "sr", "aria-live": "polite" });
/** What stands below the transcript. */
export const composer = [status.line, settings.panel, ledger.view, box.view, spoken];

box.listen({
  send: (text, begin) => send(text, path(), begin, true),
  stop,
  type: recount,
});
ledger.listen(turns.mark);
turns.offer((text) => send(text));
replies.listen((of, nid, counted) => {
  const ended = !runs.isRunning(of);
  if (of !== id) return list();
  // Who has gone to another branch meanwhile stays there.
  const there = !leaf || !nid || replies.growingOf(of) === nid || leaf === nid;
  if (nid && there) leaf = nid;
  if (counted && leaf === nid && !box.message()) {
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
  } else store.ofTab(SYSTEM + id, chosen.system ?? "");
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
