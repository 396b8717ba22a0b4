// How replies are asked for: the prompt template, the sampling that people change, what happens when
// the window is full. They belong to the open conversation; a new one begins with the last used.
const Settings = (() => {
  const { el } = Dom;
  let facts = null; // what the server offers: see chat_tab.py
  let values = Store.settings();
  let changed = () => {};

  const field = (label, control, hint) =>
    el(
      "label",
      { className: "field" },
      el("span", { textContent: label }),
      control,
      hint ? el("small", { textContent: hint }) : null,
    );
  const input = (name, properties) =>
    el("input", {
      type: "number",
      step: "any",
      oninput: ({ target }) => target.checkValidity() && set(name, target.value),
      onchange: ({ target }) => target.reportValidity(),
      name,
      ...properties,
    });

  const controls = {
    template: el("select", {
      name: "template",
      onchange: (event) => set("template", event.target.value),
    }),
    temperature: input("temperature", { min: 0, max: 2 }),
    max_new_tokens: input("max_new_tokens", { min: 1, step: 1 }),
    seed: input("seed", { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, placeholder: "random" }),
    keep_all: el("input", {
      type: "checkbox",
      name: "keep_all",
      onchange: (event) => set("keep_all", event.target.checked),
    }),
  };
  const panel = el(
    "div",
    { id: "settings", hidden: true, role: "group", "aria-label": "Settings" },
    field("Prompt template", controls.template),
    field("Temperature", controls.temperature),
    field("Longest reply", controls.max_new_tokens),
    field("Seed", controls.seed),
    el(
      "label",
      { className: "field check" },
      controls.keep_all,
      el("span", { textContent: "Refuse a message rather than leave earlier turns out" }),
    ),
  );
  const toggle = Dom.button("Settings", () => open(panel.hidden), {
    id: "settings-button",
    "aria-expanded": "false",
    "aria-controls": "settings",
    disabled: true,
  });
  const open = (shown) => {
    panel.hidden = !shown;
    toggle.setAttribute("aria-expanded", String(shown));
  };

  const set = (name, value) => {
    const next = { ...values };
    if (value === "" || value === false || (name === "template" && value === facts.template))
      delete next[name];
    else next[name] = value === true || name === "template" ? value : Number(value);
    values = Records.checkSettings(next);
    hint();
    Store.keepSettings(values);
    changed(values);
  };

  // What holds where nothing is chosen
  const hint = () => {
    const chosen = values.template ?? facts.template;
    const template = facts.templates.find(({ name }) => name === chosen);
    controls.temperature.placeholder = template.temperature;
    controls.max_new_tokens.placeholder = facts.max_new_tokens;
    const chip = Dom.find("#template-chip");
    if (chip) chip.textContent = `Prompt: ${template.title}`;
  };
  const knows = (name) => facts.templates.some((template) => template.name === name);

  // Show `next`, those of a conversation that was opened.
  const use = (next) => {
    values = { ...next };
    if (!facts) return;
    if (values.template !== undefined && !knows(values.template)) {
      Dom.say(`The prompt template ${values.template} is not on this server; another is used.`);
      delete values.template;
    }
    for (const name of ["temperature", "max_new_tokens", "seed"])
      controls[name].value = values[name] ?? "";
    controls.template.value = values.template ?? facts.template;
    controls.max_new_tokens.max = facts.window;
    controls.keep_all.checked = !!values.keep_all;
    hint();
  };

  Dom.hear("facts", (told) => {
    facts = told;
    toggle.disabled = false;
    controls.seed.disabled = !!facts.limitations.seed;
    controls.seed.title = facts.limitations.seed ?? "";
    controls.template.replaceChildren(
      ...facts.templates.map(({ name, title }) =>
        el("option", { value: name, textContent: title }),
      ),
    );
    use(values);
  });

  return {
    panel,
    toggle,
    use,
    get: () => values,
    knows,
    listen: (listener) => (changed = listener),
  };
})();
