// What the page does by itself: all modules together, put in their places once Gradio has built those.
import * as sources from "./attribution/sources.js";
import * as chat from "./chat/chat.js";
import * as bar from "./frame/bar.js";
import "./chat/handover.js";
import * as turns from "./chat/turns.js";
import * as settings from "./composer/settings.js";
import * as consent from "./consent.js";
import * as sidebar from "./frame/sidebar.js";
import { el } from "./lib/dom.js";
import { facts } from "./lib/facts.js";
import { whenever } from "./lib/gradio.js";
import "./playground/playground.js";

turns.attribute(() => sources.look(turns));
settings.panel.append(sources.choice);
const notice = el("p", { id: "notice", textContent: facts.notice });
const composer = el("div", { id: "composer" }, ...chat.composer, notice);
let begun = false;
whenever("#chat-page", (place) => {
  place.replaceChildren(sidebar.nav, bar.bar, bar.unsaved, bar.banner, turns.transcript, composer);
  if (begun) return; // Gradio builds the page anew where it has lost its server
  begun = true;
  chat.start();
  bar.start();
  consent.start();
});
