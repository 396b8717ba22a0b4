// A template as the model reads it, in tokens, with a short conversation behind it.
import { el, patch } from "../lib/dom.js";
import { counted } from "../lib/text.js";

/** @typedef {[text: string, id: number, kind: "special" | "trusted" | "plain"]} Token */

const summary = el("summary", { textContent: "As the model reads it" });
const size = el("p", { className: "hint", id: "template-size" });
const prompt = el("pre", {
  className: "seen",
  tabIndex: 0,
  role: "group",
  "aria-label": "The prompt, token by token",
});
/** The view: beside the editor where there is room, folded below it where there is not. */
export const view = el(
  "details",
  { id: "template-preview", open: matchMedia("(min-width: 900px)").matches },
  summary,
  size,
  prompt,
);

/** @param {{tokens: Token[], count: number, preamble_tokens: number, hash: string}} told */
export const show = ({ tokens, count, preamble_tokens: preamble, hash }) => {
  summary.textContent = `As the model reads it: ${counted(count, "token")}`;
  size.textContent =
    `${counted(preamble, "token")} stand before every chat. Green is what people write; hash ${hash}.` +
    (tokens.length < count ? ` Shown: the last ${tokens.length.toLocaleString("en")}.` : "");
  const fresh = tokens.map(([text, id, kind]) =>
    el("span", {
      className: `seen-token from-${kind}`,
      title: `id ${id}`,
      textContent: text.replaceAll("\n", "↵\n") || "·",
    }),
  );
  patch(prompt, 0, fresh);
};
