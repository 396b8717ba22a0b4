// What the page does by itself: all modules together, and what chat and attribution have of each other.
import * as sources from "./attribution/sources.js";
import "./chat/bar.js";
import "./chat/handover.js";
import * as settings from "./chat/settings.js";
import "./chat/transcript.js";
import * as turns from "./chat/turns.js";
import "./consent.js";
import "./playground/playground.js";

turns.attribute(sources);
sources.listen(({ id, nid, sources: found, ended, failed }) => {
  turns.dress(id, nid, found);
  if (ended) turns.lookedUp(id, nid, failed);
});
settings.panel.append(sources.choice);
