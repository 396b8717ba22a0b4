// What the page does by itself: all modules together, put in their places once Gradio has built those.
import * as sources from "./attribution/sources.js";
import * as chat from "./chat/chat.js";
import * as handover from "./chat/handover.js";
import * as jump from "./chat/jump.js";
import * as turns from "./chat/turns.js";
import * as attach from "./composer/attach.js";
import * as settings from "./composer/settings.js";
import * as consent from "./consent.js";
import * as address from "./frame/address.js";
import * as bar from "./frame/bar.js";
import * as sharing from "./frame/sharing.js";
import * as sidebar from "./frame/sidebar.js";
import { el } from "./lib/dom.js";
import { facts } from "./lib/facts.js";
import { showTab, whenever } from "./lib/gradio.js";
import * as continuing from "./playground/continue.js";
import "./playground/playground.js";
import * as kept from "./store/templates.js";
import * as templates from "./templates/editor.js";

handover.toPlayground(continuing.take);
continuing.listen({ back: handover.back, ask: handover.question });
turns.attribute(() => sources.look(turns));
settings.panel.append(sources.choice);
chat.guard(consent.accepted);
const notice = el("p", { id: "notice", textContent: facts.notice });
turns.transcript.prepend(notice);
const composer = el("div", { id: "composer" }, ...chat.composer);
attach.accept(composer);
attach.accept(turns.transcript);
let begun = false;
whenever("#chat-page", (place) => {
  place.replaceChildren(
    sidebar.nav,
    bar.bar,
    bar.unsaved,
    sharing.banner,
    turns.transcript,
    jump.view,
    composer,
  );
  if (begun) return; // Gradio builds the page anew where it has lost its server
  begun = true;
  chat.start();
  address.start();
  sharing.start();
  consent.start();
});

// A template that is edited goes to the open chat, and the one of the open chat to the editor.
templates.listen(({ name, toml }) => {
  const template = name === facts.template && toml === undefined ? undefined : name;
  settings.take({ ...settings.get(), template, template_text: toml });
  showTab("Chat");
});
whenever("#template-chip", (chip) =>
  chip.addEventListener("click", () => {
    const { template: name = facts.template, template_text: toml } = settings.get();
    templates.open({ name, toml });
  }),
);
kept.listenKept(() =>
  settings.offer(kept.kept().map((each) => ({ name: each.name, text: kept.newest(each).toml }))),
);
