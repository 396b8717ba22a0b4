// A run of a prompt: versions written into it until they are over, kept, and looked up in the sources.
// Knows nothing of how they are shown.
import { checkSources } from "../lib/matches.js";
import { events } from "../lib/server.js";
import * as runs from "../store/runs.js";
import { toSegments } from "./raw.js";
import * as running from "./run.js";

/** @import {Settings} from "../store/runs.js" */
/** @import {Prompt} from "./editor.js" */
/** @import {Version} from "./versions.js" */
const LOST = "This run is too long for the browser to keep it.";

/**
 * A run as it is shown. chosen: which version stands behind the prompt, or -1.
 * @typedef {{id: string, time: number, prompt: Prompt, literal: boolean, settings: Settings,
 *   versions: Version[], chosen: number}} Shown
 */
/**
 * Who shows it: it has started; its first version in this go is there; one has grown; how it stands;
 * something else is to be shown of it.
 * @typedef {{started: () => unknown, began: (run: Shown, first: number) => unknown,
 *   grew: (run: Shown, at: number) => unknown,
 *   said: (run: Shown, sentence: string, bad?: boolean) => unknown,
 *   changed: (run: Shown) => unknown}} Page
 */

/**
 * @param {"complete" | "inspect"} route @param {{}} body @param {(news: any) => unknown} hear
 * @param {(sentence: string) => unknown} fail @param {() => unknown} started
 */
export const follow = async (route, body, hear, fail, started) => {
  try {
    const following = running.follow(route, body, hear);
    started();
    await following;
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    fail(name === "AbortError" ? "Stopped" : message);
  }
};

/** Whether it could be kept. @param {Shown} run */
const keep = ({ id, time, prompt, literal, settings, versions }) => {
  const { raw, head, origin } = prompt;
  const segments = toSegments(raw);
  return runs.keep({ id, time, segments, head, literal, settings, versions, origin });
};

/**
 * Writes versions into a run until they are over.
 * begun: ids they begin with; plain: these are of what must stay text.
 * @param {Shown} run
 * @param {{begun: number[], count: number, name: (seed: number) => string, plain?: boolean}} what
 * @param {Page} page
 */
export const write = async (run, { begun, count, name, plain }, page) => {
  const { prompt, literal, settings } = run;
  const first = run.versions.length;
  let [failure, stopped] = ["", false];
  const hear = (/** @type {any} */ { versions = [], news = [] }) => {
    const fresh = { ids: null, note: "", plain, over: false, status: "" };
    for (const { seed, text } of versions) run.versions.push({ name: name(seed), text, ...fresh });
    if (versions.length) page.began(run, first);
    for (const { at, text, status, done, error } of news) {
      const version = run.versions[first + at];
      if (text) version.text += text;
      if (status) version.status = status;
      if (status) page.said(run, status);
      if (done)
        Object.assign(version, { text: done.text, ids: done.ids, note: done.note, over: true });
      if (error) Object.assign(version, { note: error, failed: true, over: true });
      if (error) failure = error;
      stopped ||= done?.reason === "cancelled";
      if (done || error) keep(run);
      page.grew(run, first + at);
    }
  };
  const body = {
    segments: toSegments(prompt.raw),
    special: !literal,
    sampling: { ...settings.sampling, seed: settings.seed },
    max_new_tokens: settings.longest,
    stop: settings.stop,
    count,
    begun,
  };
  const fail = (/** @type {string} */ sentence) => {
    failure ||= sentence;
  };
  await follow("complete", body, hear, fail, page.started);
  const fresh = run.versions.slice(first);
  for (const version of fresh)
    if (!version.over) Object.assign(version, { over: true, note: failure });
  const lost = !!fresh.length && !keep(run);
  const end = failure || (stopped ? "Stopped" : "Done");
  page.said(
    run,
    lost ? `${end.replace(/\.$/, "")}. ${LOST}` : end,
    lost || (!!failure && failure !== "Stopped"),
  );
  page.changed(run);
  lookUp(run, fresh, page);
};

/** Where the versions' texts come from. @param {Shown} run @param {Version[]} versions @param {Page} page */
const lookUp = async (run, versions, page) => {
  for (const version of versions) {
    if (!version.text || version.failed) continue;
    try {
      for await (const news of events("sources", { text: version.text, service: false }))
        if (!news.building) version.sources = checkSources(news);
    } catch {
      return; // the server is away: it is no more than a hint
    }
    if (version.sources && !version.sources.matches.length) delete version.sources;
    if (version.sources) page.changed(run);
  }
};
