// A conversation as a link: made here, and read here by whoever got one. The reader keeps nothing
// unless it is continued.

import * as chat from "../chat/chat.js";
import { letGo } from "../chat/transcript.js";
import { transcript } from "../chat/turns.js";
import * as settings from "../composer/settings.js";
import { warn } from "../composer/status.js";
import { button, copy, el, need } from "../lib/dom.js";
import * as links from "../lib/share.js";
import * as store from "../store/store.js";
import { view } from "./shared.js";

/** @import {Conversation} from "../lib/records.js" */
/** @import {Settings} from "../lib/settings.js" */

/** The link to share, or what is said of a shared conversation. */
export const banner = el("div", { id: "banner" });
const act = { className: "act" };

/** What else a link holds. @param {Settings} settings */
const withMore = ({ system, template_text }) => {
  const more = [system && "instructions", template_text && "prompt template"].filter(Boolean);
  return more.length ? `, with its ${more.join(" and ")}` : "";
};

/** @param {() => unknown} html saves the conversation as a file */
export const share = async (html) => {
  const { record, leaf } = chat.current();
  if (!record) return;
  try {
    const link = await links.link(record, leaf, settings.get());
    const field = el("input", {
      readOnly: true,
      value: link,
      id: "share-link",
      "aria-label": "Link to this conversation",
    });
    const reach = links.reach(location.hostname);
    banner.replaceChildren(
      el("p", {
        textContent:
          reach === "everywhere"
            ? `Whoever has this link can read the conversation as it is shown${withMore(settings.get())}: the link itself holds it, no server.`
            : `This link opens ${reach === "computer" ? "on this computer" : "in this network"} only: ` +
              "send the HTML file, or start the server with --share for links that open elsewhere.",
      }),
      field,
      button("Copy", (event) => copy(event.currentTarget, link), act),
      ...(reach === "everywhere"
        ? []
        : [button("Save HTML file", html, { ...act, id: "share-file" })]),
      button("Close", () => banner.replaceChildren(), act),
    );
    field.select();
  } catch (error) {
    warn(/** @type {Error} */ (error).message);
  }
};

/** @type {string | null} */
let beside = null; // the open conversation while a shared one is read

/** The shared conversation goes. */
const end = () => {
  if (beside === null) return;
  beside = null;
  banner.replaceChildren();
  transcript.querySelector("#shared")?.remove();
  need("#chat-page").classList.remove("visiting");
  history.replaceState(null, "", location.pathname + location.search);
};

/** @param {Conversation} shared */
const read = (shared) => {
  end();
  beside = chat.current().id;
  need("#chat-page").classList.add("visiting");
  letGo();
  transcript.append(view(shared));
  transcript.scrollTop = 0;
  banner.replaceChildren(
    el(
      "p",
      {},
      "Shared with you: ",
      el("b", { textContent: shared.title || "untitled" }),
      withMore(shared.settings ?? {}),
    ),
    button(
      "Continue in my chats",
      () => {
        end();
        store.put(shared);
        chat.open(shared.id);
      },
      { ...act, id: "open-shared" },
    ),
    button("Close", end, { ...act, id: "close-shared" }),
  );
};
chat.listenOpen(end);
/** Whether a shared conversation is read. */
export const isVisiting = () => beside !== null;

/** Shows what a link has brought. */
const receive = async () => {
  if (!location.hash.startsWith("#chat=")) return;
  try {
    const shared = await links.open(location.hash);
    if (shared) read(shared);
  } catch (error) {
    history.replaceState(null, "", location.pathname + location.search);
    warn(/** @type {Error} */ (error).message);
  }
};
export const start = () => {
  receive();
  addEventListener("hashchange", receive);
};
