// The files that are attached to the message that is typed: chosen, dropped or pasted, shown as chips.
import { button, el } from "../lib/dom.js";
import { facts } from "../lib/facts.js";
import { counted, size } from "../lib/text.js";
import * as store from "../store/store.js";
import * as files from "./files.js";
import { warn } from "./status.js";

/** @import {Attached} from "./files.js" */

const KEY = "tech-assistant/attached/"; // and the conversation's id, in the tab's own store
const COUNT_MAX = 20;
const PASTE_CHARS = 2_500; // what is pasted and longer becomes a file
const PASTE_LINES = 60;
const PASTED = "pasted.txt";

/** @type {Attached[]} */
let attached = [];
let id = "";
let changed = () => {};
let back = () => {}; // puts the focus where it belongs once a chip is gone

/** The chips. */
export const view = el("div", { id: "attached", hidden: true });
const picker = el("input", { type: "file", multiple: true, hidden: true, id: "attach-file" });
view.append(picker);

/** @param {number} index */
const leaveOut = (index) => {
  put(attached.toSpliced(index, 1));
  back();
};
const draw = () => {
  view.replaceChildren(
    picker,
    ...attached.map((file, index) => {
      const lines = file.text.split("\n").length - Number(file.text.endsWith("\n"));
      return el(
        "span",
        { className: "attached" },
        el("span", { textContent: `${file.name} · ${counted(lines, "line")}` }),
        button("×", () => leaveOut(index), {
          className: "act",
          title: `Leave ${file.name} out`,
          "aria-label": `Leave ${file.name} out`,
        }),
      );
    }),
  );
  view.hidden = !attached.length;
};

/** @param {unknown} value @returns {value is Attached} */
const isAttached = (value) =>
  typeof value === "object" &&
  value !== null &&
  "name" in value &&
  "text" in value &&
  typeof value.name === "string" &&
  typeof value.text === "string";

/** @param {string} of a conversation @returns {Attached[]} */
const kept = (of) => {
  try {
    const found = JSON.parse(store.ofTab(KEY + of) ?? "[]");
    return Array.isArray(found)
      ? found.filter(isAttached).map(({ name, text }) => ({ name: files.plain(name), text }))
      : [];
  } catch {
    return [];
  }
};
/** @param {string} of @param {Attached[]} value */
const keep = (of, value) => store.ofTab(KEY + of, value.length ? JSON.stringify(value) : "");

/** @param {Attached[]} value */
export const put = (value) => {
  attached = value;
  keep(id, attached);
  draw();
  changed();
};
/** Those of the open conversation. */
export const all = () => attached;
/** Those that come back to a conversation. @param {string} of @param {Attached[]} more */
export const giveBack = (of, more) => {
  if (!more.length) return;
  if (of === id) put([...more, ...attached]);
  else keep(of, [...more, ...kept(of)]);
};
/** Shows those of that conversation. @param {string} next */
export const open = (next) => {
  id = next;
  attached = kept(id);
  draw();
};

/** @param {Iterable<File>} chosen */
const take = async (chosen) => {
  const of = id;
  /** @type {Attached[]} */
  const read = [];
  /** @type {string[]} */
  const refused = [];
  for (const file of chosen) {
    try {
      read.push(await files.read(file));
    } catch (error) {
      refused.push(/** @type {Error} */ (error).message);
    }
  }
  const chars = [...(of === id ? attached : kept(of)), ...read].reduce(
    (n, { text }) => n + size(text),
    0,
  );
  if (chars > facts.limits.message) {
    const [had, may] = [chars, facts.limits.message].map((count) => count.toLocaleString("en"));
    return warn(`Files may have at most ${may} characters together; these have ${had}.`, of);
  }
  const room = COUNT_MAX - (of === id ? attached : kept(of)).length;
  if (read.length > room) refused.push(`At most ${COUNT_MAX} files can be attached.`);
  const fresh = read.slice(0, Math.max(room, 0));
  if (of === id) put([...attached, ...fresh]);
  else keep(of, [...kept(of), ...fresh]);
  if (refused.length) warn(refused.join(" "), of);
};
/** Lets a person choose. */
export const choose = () => picker.click();
picker.addEventListener("change", async () => {
  await take(picker.files ?? []);
  picker.value = "";
});

/** What is dropped there is attached. @param {HTMLElement} place */
export const accept = (place) => {
  place.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    place.classList.add("dropping");
  });
  for (const kind of /** @type {const} */ (["dragleave", "drop"]))
    place.addEventListener(kind, () => place.classList.remove("dropping"));
  place.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files);
  });
};
/** What is pasted there and long, or a file, is attached. @param {HTMLElement} field */
export const watch = (field) => {
  field.addEventListener("paste", (event) => {
    const { files: pasted, items } = /** @type {DataTransfer} */ (event.clipboardData);
    const text = event.clipboardData?.getData("text/plain") ?? "";
    const long = text.length > PASTE_CHARS || text.split("\n").length > PASTE_LINES;
    if (pasted.length && !text) {
      event.preventDefault();
      take(pasted);
    } else if (long && items) {
      event.preventDefault();
      take([new File([text], PASTED)]);
    }
  });
};
/** @param {() => unknown} listener told when others are attached @param {() => void} focus */
export const listen = (listener, focus) => {
  changed = listener;
  back = focus;
};
