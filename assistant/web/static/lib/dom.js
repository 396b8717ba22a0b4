// What all scripts of the page share: elements, files to save, the boxes that Gradio reads.
// Text becomes an element's text here, never its HTML.
const Dom = (() => {
  const find = (selector, root = document) => root.querySelector(selector);

  // el("p", {className: "x", title: "y"}, "text", otherElement); a null child is left out
  const el = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.includes("-") || name === "role") element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children.filter((child) => child != null));
    return element;
  };

  const button = (label, onclick, properties = {}) =>
    el("button", { type: "button", textContent: label, onclick, ...properties });

  const download = (name, type, text) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };

  const copy = async (button, text) => {
    const label = (button.dataset.label ??= button.textContent);
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = label), 1500);
  };

  // A Gradio textbox: its new value reaches the server with the next event.
  const box = (id) => find(`#${id} textarea, #${id} input`);
  const fill = (id, value) => {
    const field = box(id);
    if (!field || field.value === value) return;
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const send = (id, value) => {
    fill(id, JSON.stringify(value));
    find(`#${id}-go`)?.click();
  };

  const waiting = [];
  const look = () => {
    for (const wanted of waiting) {
      const element = find(wanted.selector);
      if (!element || element === wanted.last) continue;
      wanted.last = element;
      wanted.action(element);
    }
  };
  // Once for each element that comes to match, also when Gradio builds the page anew.
  const whenever = (selector, action) => waiting.push({ selector, action });
  new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true });

  // What the server says through the hidden component with this id: see wire.py.
  const hear = (id, action) =>
    whenever(`#${id}`, (element) => {
      let heard = null;
      const read = () => {
        const data = find(".data", element);
        if (!data || data.textContent === heard) return;
        heard = data.textContent;
        action(JSON.parse(heard), [...element.querySelectorAll("article")]);
      };
      new MutationObserver(read).observe(element, {
        childList: true,
        subtree: true,
        characterData: true,
      });
      read();
    });

  // A sentence of the page's own, in place of the server's last one until that says more.
  const note = el("p", { id: "chat-note", role: "status" });
  const say = (sentence, ...more) => note.replaceChildren(sentence, ...more);
  whenever("#chat-status", (status) => {
    status.after(note);
    new MutationObserver(() => say("")).observe(status, {
      childList: true,
      subtree: true,
      characterData: true,
    });
  });

  return { find, el, button, download, copy, box, fill, send, whenever, hear, say };
})();
