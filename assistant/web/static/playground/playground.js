// The playground's own behaviour: its buttons, the token inspector, files made in the page.
import { button, copy, download, el, find, need } from "../lib/dom.js";
import { hear, send, showTab, whenever } from "../lib/gradio.js";

/** @typedef {[id: number, text: string, logprob: number]} Choice */

/** @param {Element} element */
const numbers = (element) =>
  [...element.classList]
    .filter((name) => /^at-\d+$/.test(name))
    .map((name) => Number(name.slice(3)));

/** @type {Record<string, string>} */
const DOORS = { take: "take", vote: "cast", reveal: "cast" }; // the box that an act goes to
document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const pressed = /** @type {HTMLElement | null} */ (target.closest?.("button.play"));
  const act = [...(pressed?.classList ?? [])].find((name) => name.startsWith("do-"))?.slice(3);
  if (!pressed || !act) return;
  if (act === "copy") {
    const card = pressed.closest(".card");
    if (card) copy(pressed, need(".written", card).textContent ?? "");
  } else send(DOORS[act] ?? "play", [act, ...numbers(pressed)]);
});

// The token inspector: pointing at a token or walking to it shows what else it could have been;
// a click or Enter holds it, so that the way to the alternatives leads over no other token.
/** @param {string} text */
const seen = (text) => text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "…";
/** @param {number | null} logprob */
const percent = (logprob) => {
  if (logprob === null) return "not computed: the window has no room";
  const value = 100 * Math.exp(logprob);
  return value >= 0.1 ? `${value.toFixed(value < 10 ? 1 : 0)} %` : "< 0.1 %";
};

/** @type {Record<string, number>} */
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** @param {HTMLElement} section */
const inspect = (section) => {
  const [card] = numbers(section);
  /** @type {[logprob: number | null, text: string, top: Choice[]][]} */
  const values = JSON.parse(need(".values", section).textContent ?? "");
  const found = /** @type {NodeListOf<HTMLElement>} */ (section.querySelectorAll(".toks .tok"));
  const tokens = [...found];
  const aside = need(".alts", section);
  /** @type {number | null} */
  let held = null;

  /** @param {number} at @param {Choice} choice */
  const choice = (at, [id, text, logprob]) => {
    const bar = el("i");
    bar.style.width = `${100 * Math.exp(logprob)}%`;
    const other = button("", () => send("play", ["branch", card, at, id]), { className: "alt" });
    other.append(el("code", {}, seen(text)), el("span", {}, percent(logprob)), bar);
    return el("li", {}, other);
  };
  /** @param {number} at */
  const show = (at) => {
    const [logprob, text, top] = values[at];
    for (const [index, token] of tokens.entries()) token.classList.toggle("shown", index === at);
    aside.replaceChildren(
      el("p", {}, `Token ${at + 1}: `, el("code", {}, seen(text)), ` ${percent(logprob)}`),
      el("p", { className: "hint" }, top.length ? "Choose another to go on from it:" : ""),
      el("ol", {}, ...top.map((other) => choice(at, other))),
    );
  };
  /** @param {number | null} at */
  const hold = (at) => {
    if (held !== null) tokens[held].classList.remove("held");
    held = at;
    if (at === null) return;
    tokens[at].classList.add("held");
    show(at);
  };
  /** @param {Event} event */
  const place = ({ target }) => {
    const token = target instanceof Element ? target.closest(".toks .tok") : null;
    return token instanceof HTMLElement ? tokens.indexOf(token) : -1;
  };

  tokens.forEach((token, index) => {
    const [logprob, text] = values[index];
    token.setAttribute("role", "button");
    token.setAttribute("aria-label", `${seen(text)}, ${percent(logprob)}`);
    token.tabIndex = index ? -1 : 0;
  });
  section.addEventListener("mouseover", (event) => {
    const at = place(event);
    if (at >= 0 && held === null) show(at);
  });
  section.addEventListener("focusin", (event) => {
    const at = place(event);
    if (at < 0) return;
    for (const [index, token] of tokens.entries()) token.tabIndex = index === at ? 0 : -1;
    if (held === null) show(at);
  });
  section.addEventListener("click", (event) => {
    const at = place(event);
    if (at >= 0) hold(held === at ? null : at);
  });
  section.addEventListener("keydown", (event) => {
    const at = place(event);
    const step = STEPS[event.key];
    if (event.key === "Escape" && held !== null) {
      tokens[held].focus();
      hold(null);
    } else if (at >= 0 && step) {
      hold(null);
      tokens[Math.min(Math.max(at + step, 0), tokens.length - 1)].focus();
    } else if (at >= 0 && (event.key === "Enter" || event.key === " ")) {
      hold(at);
      find("button", aside)?.focus();
    } else return;
    event.preventDefault();
  });
  aside.setAttribute("aria-live", "polite");
  aside.append(el("p", { className: "hint" }, "Point at a token, or walk with the arrow keys."));
};
whenever("#inspector .inspector", inspect);

for (const name of ["continue", "fill-in", "compare", "template"]) {
  whenever(`#${name}-status`, (status) => status.setAttribute("role", "status"));
}

// A turn that comes from the chat is shown where it arrives.
whenever("#to-playground-go", (door) =>
  door.addEventListener("click", () => {
    showTab("Playground");
    showTab("Continue");
  }),
);

for (const name of ["compare", "template"]) {
  hear(`${name}-file`, (file) => download(file.name, file.type, file.text));
}
