// What the model wrote behind the prompt: versions of a continuation, run, stopped, inspected, gone on
// from at another token, taken over or not. One is shown behind the prompt while that is as it was.
import { button, copy, el, find, need } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { newId } from "../lib/records.js";
import * as runs from "../store/runs.js";
import { follow, write } from "./asking.js";
import * as editor from "./editor.js";
import { toSegments } from "./raw.js";
import * as running from "./run.js";
import * as tokens from "./tokens.js";
import { cards, fill, fromKept, lineOf, noteOf } from "./versions.js";

/** @import {Origin, Run, Settings} from "../store/runs.js" */
/** @import {Page, Shown} from "./asking.js" */
/** @import {Prompt} from "./editor.js" */
/** @import {Choice, Token} from "./tokens.js" */
/** @import {Version} from "./versions.js" */
const BUSY = "A continuation is being written; stop it first.";
const FULL = `There are ${runs.VERSIONS_MAX} versions already; Continue starts anew.`;
const CHANGED =
  "The prompt is no longer the chat's with something behind it; open the turn again to bring a " +
  "continuation back.";

/** @type {Shown | null} */
let shown = null;
/** @type {Version | null} */
let inspected = null;
/** @type {WeakMap<Version, Token[]>} */
const known = new WeakMap();
/**
 * say: a sentence on how it stands; put: another prompt; back: a continuation for the chat;
 * changed: something is to be kept; settings: how it goes on from a token
 * @type {{say: (text: string, bad?: boolean) => unknown, put: (prompt: Prompt) => unknown,
 *   back: (reply: {id: string, after: string, text: string, ids: number[] | null}) => unknown,
 *   changed: () => unknown, settings: () => Settings | null}}
 */
let page;
/** @param {typeof page} by */
export const listen = (by) => {
  page = by;
};

/** The version that stands behind the prompt. */
const current = () => {
  if (!shown || shown.prompt.raw.text !== editor.get().raw.text) return null;
  return shown.versions[shown.chosen] ?? null;
};

const take = button("Accept", () => accept(), { className: "plain", title: "Tab" });
const leave = button("Reject", () => reject(), { className: "plain", title: "Escape" });
const look = button("Tokens", () => inspect(), { className: "act", title: "How likely each was" });
const copied = button("Copy", (event) => copy(event.currentTarget, current()?.text ?? ""), {
  className: "act",
});
const home = button("Back to the chat", () => back(), { className: "act" });
const note = el("span", { className: "note" });
/** Below the sheet: what can be done with the version behind the prompt. */
export const acts = el("div", { className: "written-acts" }, take, leave, look, copied, home, note);
const legend = el("div");
const aside = el("div", { className: "alts", "aria-live": "polite", hidden: true });
const side = el("div", { className: "cards" });
const old = el("p", { className: "note" }, "Behind the prompt as it was then:");
/** Beside it: all versions, and what a token could have been. */
export const beside = el("div", { className: "beside" }, aside, old, side);
acts.append(legend);

const cannot = facts.limitations.prompt_logprobs;
/** Shows all of it anew. */
export const draw = () => {
  const version = current();
  if (inspected !== version) inspected = null;
  const found = inspected && known.get(inspected);
  tokens.clear(editor.place, aside);
  if (found && version)
    tokens.show(editor.place, aside, found, (at, choice) => branch(found, at, choice));
  else if (version) fill(editor.place, version);
  else editor.place.replaceChildren();
  editor.place.classList.toggle("inspected", !!found);
  legend.replaceChildren(...(found ? [tokens.legend(found)] : []));
  acts.hidden = !version;
  for (const each of [take, look, copied, home]) each.disabled = !version?.over || !version.text;
  if (cannot) Object.assign(look, { disabled: true, title: cannot });
  look.setAttribute("aria-pressed", String(!!found));
  home.hidden = !shown?.prompt.origin;
  note.textContent = version ? lineOf(version) : "";
  const stale = !!shown && shown.prompt.raw.text !== editor.get().raw.text;
  const several = !!shown && (shown.versions.length > 1 || (!version && !stale));
  old.hidden = !several || !stale;
  side.replaceChildren(
    ...(several && shown ? cards(shown.versions, version ? shown.chosen : -1, choose) : []),
  );
  const alone = !several && version?.sources;
  if (alone && shown) side.replaceChildren(...cards(shown.versions, 0, choose));
  beside.classList.toggle("empty", !several && !alone && !found);
  const card = find(".version.chosen", side);
  if (card) beside.scrollTop = card.offsetTop;
};

/** @param {number} at */
const choose = (at) => {
  if (!shown) return;
  if (shown.prompt.raw.text !== editor.get().raw.text) page.put(shown.prompt);
  shown.chosen = at;
  draw();
  editor.showPlace();
  page.changed();
};

/** What has grown, without anything else. @param {Shown} run @param {number} at */
const grow = (run, at) => {
  if (run !== shown) return;
  const version = run.versions[at];
  const card = side.children[at];
  if (card) {
    fill(need(".written", card), version);
    need(".note", card).textContent = noteOf(version);
  }
  if (version !== current() || inspected) return;
  const along = editor.atEnd();
  fill(editor.place, version);
  note.textContent = lineOf(version);
  if (along) editor.follow();
};

/** @type {Page} */
const here = {
  started: () => {
    page.say("Reading");
    page.changed();
    editor.rest();
  },
  began: (run, first) => {
    run.chosen = first;
    shown = run;
    draw();
    editor.showPlace();
  },
  grew: grow,
  said: (run, sentence, bad) => {
    if (run === shown || !run.versions.length) page.say(sentence, bad);
  },
  changed: (run) => {
    if (run === shown) draw();
    page.changed();
  },
};

/** Continues a prompt. @param {Prompt} prompt @param {boolean} literal @param {Settings} settings */
export const start = (prompt, literal, settings) => {
  if (running.isRunning()) return page.say(BUSY);
  const exact = settings.sampling.temperature === 0 && settings.count === 1;
  const run = {
    id: newId("r"),
    time: Date.now(),
    prompt,
    literal,
    settings,
    versions: [],
    chosen: 0,
  };
  const name = (/** @type {number} */ seed) => (exact ? "likeliest tokens" : `seed ${seed}`);
  return write(run, { begun: [], count: settings.count, name }, here);
};

/** Goes on from another token. @param {Token[]} found @param {number} at @param {Choice} choice */
const branch = (found, at, [id, text, logprob]) => {
  if (!shown || running.isRunning()) return page.say(BUSY);
  if (shown.versions.length >= runs.VERSIONS_MAX) return page.say(FULL, true);
  const settings = page.settings();
  if (!settings) return;
  const [was, , before] = found[at];
  const name =
    `branch at “${tokens.seen(was)}” (${tokens.percent(before)}): ` +
    `“${tokens.seen(text)}” (${tokens.percent(logprob)})`;
  const { plain } = inspected ?? {};
  inspected = null;
  Object.assign(shown, { settings });
  const begun = [...found.slice(0, at).map(([, each]) => each), id];
  write(shown, { begun, count: 1, name: () => name, plain }, here);
};

/** Shows how likely each token was, or the text again. */
const inspect = async () => {
  const version = current();
  if (!version || !shown) return;
  if (inspected === version) {
    inspected = null;
    return draw();
  }
  if (!known.has(version)) {
    if (running.isRunning()) return page.say(BUSY);
    const { prompt, literal } = shown;
    const { text, ids } = version;
    const body = { segments: toSegments(prompt.raw), special: !literal, text, ids };
    let failure = "";
    page.say("Reading");
    const hear = (/** @type {any} */ { tokens: found, status, error }) => {
      if (found) known.set(version, found);
      if (status) page.say(status);
      if (error) failure = error;
    };
    const fail = (/** @type {string} */ sentence) => {
      failure = sentence;
    };
    await follow("inspect", body, hear, fail, page.changed);
    page.say(failure, !!failure);
    page.changed();
  }
  if (known.has(version)) inspected = version;
  draw();
};

/** Makes the version part of the prompt; whether there was one. */
export const accept = () => {
  const version = current();
  if (!version?.over || !version.text) return false;
  if (shown) shown.chosen = -1;
  editor.append(version.text, !version.plain);
  draw();
  page.changed();
  return true;
};
/** Ends what runs, leaves the tokens, or takes the version away; whether there was something. */
export const reject = () => {
  const version = current();
  if (running.isRunning()) running.stop();
  else if (inspected) inspected = null;
  else if (version && shown) shown.chosen = -1;
  else return false;
  draw();
  page.changed();
  editor.focus();
  return true;
};

const back = () => {
  const version = current();
  const { origin, raw } = shown?.prompt ?? {};
  if (!version || !origin || !raw) return;
  if (!raw.text.startsWith(origin.opened)) return page.say(CHANGED, true);
  const before = raw.text.slice(origin.opened.length);
  const { id, after } = origin;
  page.back({ id, after, text: (before + version.text).trim(), ids: before ? null : version.ids });
};

/** A kept run, or a reply of the chat, as it was. @param {Run} run @param {Prompt} prompt @param {number} [chosen] */
export const open = (run, prompt, chosen = 0) => {
  if (running.isRunning()) running.stop();
  const { id, time, literal, settings } = run;
  shown = { id, time, prompt, literal, settings, versions: run.versions.map(fromKept), chosen };
  draw();
};
/** Nothing is shown any more. */
export const close = () => {
  if (running.isRunning()) running.stop();
  shown = null;
  draw();
};
/** What is shown, for the next time. */
export const state = () => (shown ? { run: shown.id, chosen: shown.chosen } : {});
