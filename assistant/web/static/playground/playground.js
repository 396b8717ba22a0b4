// The buttons and files of the playground's tabs that Gradio builds.
import { copy, download, need } from "../lib/dom.js";
import { hear, send, whenever } from "../lib/gradio.js";

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

for (const name of ["fill-in", "compare", "template"]) {
  whenever(`#${name}-status`, (status) => status.setAttribute("role", "status"));
}

for (const name of ["compare", "template"]) {
  hear(`${name}-file`, (file) => download(file.name, file.type, file.text));
}
