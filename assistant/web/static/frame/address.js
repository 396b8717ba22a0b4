// What the page's address asks for: /?prompt=NAME&q=TEXT puts template and question in place, and
// nothing of it is sent unasked.
import * as chat from "../chat/chat.js";
import * as box from "../composer/box.js";
import * as settings from "../composer/settings.js";
import { warn } from "../composer/status.js";
import { facts } from "../lib/facts.js";
import * as records from "../lib/records.js";

export const start = () => {
  const asked = new URLSearchParams(location.search);
  const [name, text] = [asked.get("prompt"), asked.get("q")];
  if (name === null && text === null) return;
  history.replaceState(null, "", location.pathname + location.hash);
  chat.fresh();
  if (text !== null) box.put(records.cut(text, facts.limits.message));
  if (name !== null && settings.knows(name))
    settings.use({ ...settings.get(), template: name, template_text: undefined });
  else if (name !== null)
    warn(`There is no prompt template ${records.cut(name, 60)} on this server.`);
  chat.recount();
};
