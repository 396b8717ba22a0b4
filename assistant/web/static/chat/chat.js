// The open conversation: what is shown, what the server is asked, and what of its news is kept. The
// server learns the open path alone, through the hidden box #path; what it says of a reply comes
// through #news, as turns that stand behind one that is known.
import { button, el, find } from "../lib/dom.js";
import { box, fill, filled, hear, send, whenever } from "../lib/gradio.js";
import * as records from "../lib/records.js";
import * as store from "../lib/store.js";
import * as ledger from "./ledger.js";
import * as receipts from "./receipts.js";
import * as settings from "./settings.js";
import * as turns from "./turns.js";

/** @import {Acts} from "./acts.js" */
/** @import {Conversation, Told} from "../lib/records.js" */

/**
 * News of a reply, which stands behind the turn `after`. add: all turns that this run brought so far,
 * since of news that follow each other fast the first may never be seen.
 * @typedef {{run: string, id: string, after: string | null, add: Told[], running: boolean,
 *   sent: string | null, settings: import("../lib/settings.js").Settings}} News
 */

const OPEN = "tech-assistant/open"; // in the tab's own store
const DRAFT = "tech-assistant/draft";
const IDS_MAX = 20_000; // of the newest turns: what no window holds need not travel

let id = "";
/** @type {string | null} */
let leaf = null; // the newest turn that is shown
/** @type {string | null} */
let editing = null; // the message that is in the box again
let kept = ""; // the draft, while a message is edited
let taken = { put: "", draft: "" }; // what Undo put into the box, and what of it was a draft
/** @type {string | null} */
let running = null; // the conversation whose reply is being written
/** @type {string | null} */
let run = null; // the number of the server's last run
let told = ""; // the open path, as the server is told it
/** @type {((record: Conversation | undefined) => unknown)[]} */
const drawn = [];

const record = () => store.get(id);
const path = () => {
  const here = record();
  return here ? records.path(here, leaf) : [];
};
/** A turn of the open conversation. @param {string} nid */
const node = (nid) => /** @type {Conversation} */ (record()).nodes[nid];

/** What the server is told with every event; keep: how many turns count, while one is edited. */
export const tell = () => {
  let room = IDS_MAX;
  const newest = path()
    .reverse()
    .map((nid) => {
      const { role, text, ids, pinned, finish } = node(nid);
      room -= ids?.length ?? 0;
      return { nid, role, content: text, ids: room > 0 ? ids : undefined, pinned, finish };
    });
  const keep = editing ? path().indexOf(editing) : undefined;
  told = JSON.stringify({
    id: id || null,
    turns: newest.reverse(),
    keep,
    settings: settings.get(),
  });
  fill("path", told);
  ledger.ask();
};
// While Gradio builds the page, what was filled in can be lost: it must stand when it is needed.
for (const sign of ["keydown", "click"]) {
  document.addEventListener(sign, () => fill("path", told), true);
}

const draw = () => {
  const here = record();
  const busy = running === id && !!here;
  find("#transcript")?.classList.toggle("running", busy);
  turns.show(here, leaf, { running: busy, editing, do_ });
  undo.disabled = !here || !leaf || busy;
  redo.hidden = busy || !here || !records.family(here).has(leaf ?? "");
  editBar.hidden = !editing;
  for (const listener of drawn) listener(here);
};
const endEdit = () => {
  if (!editing) return;
  editing = null;
  fill("message", kept);
};
const refresh = () => {
  if (editing && !path().includes(editing)) endEdit();
  draw();
  tell();
};

/** @param {string} next @param {string | null} [at] the newest turn that is shown */
export const open = (next, at) => {
  endEdit();
  id = next;
  leaf = at ?? record()?.leaf ?? null;
  store.show(id);
  store.ofTab(OPEN, id);
  const here = record();
  settings.use(here ? (here.settings ?? {}) : store.settings());
  refresh();
};
export const fresh = () => {
  open(records.newId("c"));
  box("message")?.focus();
};
/** @param {string | null} to */
const go = (to) => {
  leaf = to;
  store.change(id, (here) => {
    here.leaf = to;
  });
  refresh();
};

// What the buttons under a turn do
/** @param {string} door @param {string} what @param {string | null} nid @param {{}} [more] */
const ask = (door, what, nid, more) =>
  send(door, {
    what,
    n: records.newId("q"),
    nid,
    keep: nid ? path().indexOf(nid) + 1 : 0,
    ...more,
  });
/** @param {string} nid */
const receipt = (nid) => ({ receipt: node(nid).receipt });
/** @param {string} nid */
const newestBelow = (nid) => records.tip(/** @type {Conversation} */ (record()), nid);
/** @type {Acts} */
const do_ = {
  edit: (nid) => {
    if (!editing) kept = filled("message");
    editing = nid;
    fill("message", node(nid).text);
    refresh();
    box("message")?.focus();
  },
  regenerate: (nid) => ask("act", "reply", node(nid).role === "user" ? nid : node(nid).parent),
  carryOn: (nid) => ask("act", "continue", nid),
  pin: (nid) => {
    store.change(id, ({ nodes }) => {
      if (nodes[nid].pinned) delete nodes[nid].pinned;
      else nodes[nid].pinned = true;
    });
    refresh();
  },
  step: (nid) => go(newestBelow(nid)),
  again: (nid) => ask("act", "again", nid, receipt(nid)),
  saw: (nid) => ask("ask", "saw", nid, receipt(nid)),
  playground: (nid) => ask("ask", "playground", nid, receipt(nid)),
};
const cancelEdit = () => {
  endEdit();
  refresh();
};
const takeBack = () => {
  const message = path().findLast((nid) => node(nid).role === "user");
  if (!message) return;
  endEdit();
  const value = filled("message");
  const draft = value === taken.put ? taken.draft : value;
  taken = { put: [node(message).text, draft].filter(Boolean).join("\n\n"), draft };
  fill("message", taken.put);
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
  /** @type {Told} */
  const turn = { nid: records.newId("n"), role: "assistant", content: text, ids };
  store.change(of, (conversation) => records.add(conversation, after, [turn]));
  go(turn.nid);
};

/** @param {News} news @param {HTMLElement[]} articles */
const take = ({ id: of, after, add: added, settings: chosen, ...news }, articles) => {
  const begins = news.run !== run;
  [run, running] = [news.run, news.running ? of : null];
  const here = store.get(of);
  const end = added.at(-1)?.nid ?? after;
  if (after === null || (here && Object.hasOwn(here.nodes, after))) {
    const follow = of === id && (begins || leaf === after || added.some(({ nid }) => nid === leaf));
    if (end && articles.length) turns.rendered(of, end, articles[0]);
    if (added.length) {
      store.change(
        of,
        (conversation) => records.add(conversation, after, added),
        begins ? records.create(of, chosen) : null, // one that was deleted does not come back
      );
    }
    if (follow) leaf = end;
    if (follow && begins && added.length) {
      // What was sent leaves the box; what was typed since stays, and so does a draft beside an
      // example that was chosen. (The box is the page's: of two updates of a box that follow each
      // other fast, Gradio can lose the first.)
      const sent = news.sent !== null && (editing || filled("message") === news.sent);
      if (sent) fill("message", editing ? kept : "");
      editing = null;
    }
  }
  refresh();
  if (!news.running && of === id && leaf === end) {
    // biome-ignore lint/performance/useDomNodeTextContent: what is not shown is not spoken
    spoken.textContent = find("article:last-child .said", turns.log)?.innerText ?? "";
  }
};
hear("news", take);

export const stop = () => find("#message .stop-button")?.click();
/** A conversation was deleted. @param {string} which */
export const gone = (which) => {
  if (running === which) stop();
  if (id === which) fresh();
};

// Answers to what was asked
hear("told", (answer) => {
  if (answer.what === "saw") receipts.saw(answer);
  if (answer.what === "again") receipts.compared(answer);
});

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

settings.listen((chosen) => {
  if (record()) {
    store.change(id, (here) => {
      here.settings = chosen;
    });
  }
  tell();
});
store.listen((changed) => {
  if (changed === id) draw();
});
whenever("#message", (message) => {
  message.before(editBar);
  box("message")?.addEventListener("input", () => store.ofTab(DRAFT, filled("message")));
});
whenever("#below", (below) => {
  running = null;
  below.append(undo, redo, settings.toggle);
  below.before(settings.panel);
  below.after(spoken);
  const last = id || store.ofTab(OPEN);
  open(last && (id || store.get(last)) ? last : records.newId("c"), id ? leaf : undefined);
});
// Gradio's events are heard from now on; after the server was lost, once more.
hear("facts", () => {
  fill("message", store.ofTab(DRAFT) || filled("message"));
  tell();
});

export const current = () => ({ id, record: record(), leaf });
/** @param {(record: Conversation | undefined) => unknown} listener told what is shown, each time */
export const listen = (listener) => drawn.push(listener);
