// The tab that continues a raw prompt: its parts together, what the browser keeps of the draft, and what
// comes from the chat and goes back there.
import { button, composes, el } from "../lib/dom.js";
import { showTab, whenever } from "../lib/gradio.js";
import { newId } from "../lib/records.js";
import { isCount, isObject, isText } from "../lib/values.js";
import { ofTab } from "../store/kept.js";
import * as runs from "../store/runs.js";
import * as editor from "./editor.js";
import * as history from "./history.js";
import * as library from "./library.js";
import { fromSegments, toSegments } from "./raw.js";
import * as running from "./run.js";
import * as sampling from "./sampling.js";
import * as strip from "./strip.js";
import * as written from "./written.js";

/** @import {Prompt} from "./editor.js" */

const DRAFT = "tech-assistant/prompt"; // in the tab's own store
const SAVE_MS = 400; // after the last change
// A dialogue shows what a base model does: it answers, and then goes on to write the next question.
const FIRST = "-----\n\nHuman: How do I read a file line by line?\n\nAssistant:";
const OPENED = "This is the chat's prompt as the model saw it.";

/** @type {Prompt | null} */
let former = null; // what was replaced last
/** @type {{back: (reply: any) => unknown, ask: (text: string) => unknown}} */
let chat = { back: () => {}, ask: () => {} };
/** @param {typeof chat} by back: takes a continuation, ask: a question */
export const listen = (by) => {
  chat = by;
};

const go = button("Continue", () => start(), {
  id: "continue",
  className: "plain go",
  title: "Ctrl+Enter",
});
const halt = button("Stop", () => running.stop(), {
  id: "continue-stop",
  className: "plain",
  title: "Escape",
  hidden: true,
});
const undo = button("Undo", () => putBack(), {
  id: "prompt-undo",
  className: "plain",
  title: "The prompt before",
  hidden: true,
});
const clear = button("New", () => blank(), { className: "plain", title: "An empty prompt" });
const status = el("p", { id: "continue-status", role: "status" });
const view = el(
  "section",
  { id: "continuing", "aria-label": "Continue a prompt" },
  el("div", { className: "play-folds" }, library.view, history.view),
  sampling.view,
  el("div", { className: "play-go" }, go, halt, clear, undo, status),
  el(
    "div",
    { className: "desk" },
    el("div", { className: "main-sheet" }, editor.view, written.acts, strip.view),
    written.beside,
  ),
);

/** @param {string} text @param {boolean} [bad] */
const say = (text, bad = false) => {
  status.textContent = text;
  status.classList.toggle("fault", bad);
};

/** Another prompt in the box; the one before can be put back. @param {Prompt} prompt */
const put = (prompt) => {
  former = editor.get();
  undo.hidden = !former.raw.text;
  editor.put(prompt);
  strip.look();
  strip.lookAtHead();
  save();
};
const putBack = () => {
  if (!former) return;
  put(former);
  written.draw();
  editor.focus();
};
const blank = () => {
  written.close();
  put({ raw: fromSegments([]), head: 0, origin: null });
  say("");
  editor.focus();
};

/** How the fields say it goes on; null, and a sentence, where one of them is wrong. */
const settings = () => {
  const sentence = sampling.wrong();
  if (sentence) say(sentence, true);
  return sentence ? null : sampling.get();
};
const start = () => {
  const chosen = settings();
  if (!chosen) return;
  if (!editor.get().raw.text) return say("The prompt is empty.", true);
  written.start(editor.get(), strip.isLiteral(), chosen);
};

// What this tab of the browser keeps

const keep = () => {
  clearTimeout(timer);
  const { raw, head, origin } = editor.get();
  const draft = {
    segments: toSegments(raw),
    head,
    origin,
    literal: strip.isLiteral(),
    settings: sampling.get(),
    ...written.state(),
  };
  ofTab(DRAFT, JSON.stringify(draft));
};
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
const save = () => {
  clearTimeout(timer);
  timer = setTimeout(keep, SAVE_MS);
};
const restore = () => {
  /** @type {unknown} */
  let draft = null;
  try {
    draft = JSON.parse(ofTab(DRAFT) ?? "null");
  } catch {
    // the first prompt
  }
  if (!isObject(draft))
    return editor.put({ raw: fromSegments([[FIRST, true]]), head: 0, origin: null });
  const prompt = promptOf(draft);
  editor.put(prompt);
  strip.setLiteral(draft.literal === true);
  sampling.use(runs.checkSettings(draft.settings));
  strip.lookAtHead();
  const { run: id, chosen } = draft;
  if (!isText(id, 40)) return;
  runs.loaded.then(() => {
    const run = runs.get(id);
    if (run && !running.isRunning())
      written.open(run, promptOf(run), isCount(chosen) ? chosen : -1);
  });
};
/** @param {Record<string, any>} kept a run or a draft @returns {Prompt} */
const promptOf = ({ segments, head, origin }) => ({
  raw: fromSegments(runs.checkSegments(segments)),
  head: isCount(head) ? head : 0,
  origin: runs.checkOrigin(origin),
});

// From the chat

/**
 * A turn of the chat as a prompt: {segments, stop, sampling, max_new_tokens, text, ids, id, after}.
 * @param {any} answer
 */
export const take = ({
  segments,
  stop,
  sampling: drawn = {},
  max_new_tokens,
  text,
  ids,
  id,
  after,
}) => {
  showTab("Playground");
  showTab("Continue");
  const raw = fromSegments(segments);
  const prompt = { raw, head: strip.headOf(segments), origin: { id, after, opened: raw.text } };
  const now = sampling.get();
  const { seed, ...others } = drawn;
  const settings = {
    sampling: { ...now.sampling, ...others },
    seed: seed ?? null,
    longest: max_new_tokens ?? now.longest,
    count: 1,
    stop: stop ?? [],
  };
  sampling.use(settings);
  strip.setLiteral(false);
  put(prompt);
  const reply = { name: "the chat's reply", text, ids: ids ?? null, note: "", plain: true };
  const kept = { id: newId("r"), time: Date.now(), segments, literal: false, settings };
  if (text) written.open({ ...kept, ...prompt, versions: [reply] }, prompt);
  else written.close();
  say(OPENED);
  editor.toTop();
};

written.listen({
  say,
  put,
  settings,
  back: (reply) => chat.back(reply),
  changed: () => {
    const busy = running.isRunning();
    [go.hidden, halt.hidden] = [busy, !busy];
    save();
  },
});
editor.listen({
  input: () => {
    strip.lookSoon();
    written.draw();
    save();
  },
  accept: written.accept,
});
library.listen({
  prompt: ({ segments }) => put({ raw: fromSegments(segments), head: 0, origin: null }),
  chat: (text) => chat.ask(text),
});
history.listen((run) => {
  const prompt = promptOf(run);
  put(prompt);
  strip.setLiteral(run.literal);
  sampling.use(run.settings);
  written.open(run, prompt);
  strip.look();
  say("");
});
sampling.listen(save);
strip.listen(save);
addEventListener("pagehide", keep);
view.addEventListener("keydown", (event) => {
  if (composes(event) || event.defaultPrevented) return;
  const starts = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  if (starts) start();
  if (starts || (event.key === "Escape" && written.reject())) event.preventDefault();
});

restore();
written.draw();
let looked = false;
whenever("#continue-page", (place) => {
  place.replaceChildren(view);
  if (!looked) strip.look(); // only who opens the tab asks
  looked = true;
});
