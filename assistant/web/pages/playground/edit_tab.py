"""The tab in which a prompt template is edited: its file's text, checked as it is typed.

Knows components and events; the format is assistant/prompting/template.py's.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr
from anyio import CapacityLimiter, to_thread

from assistant.errors import AssistantError, TemplateError
from assistant.prompting.editor import to_toml
from assistant.prompting.load import read_template
from assistant.prompting.template import PromptTemplate
from assistant.web.pages.chat.templates import Assistants
from assistant.web.pages.doors import status_line
from assistant.web.pages.events import ASIDE, QUIET, Untrusted, Update
from assistant.web.pages.playground.compare_tab import Session, WorkbenchTab
from assistant.web.pages.playground.html import file
from assistant.web.pages.playground.tab_base import visible

EDITED_MAX = 8  # copies of one page that can be compared
ADDED = "It stands in the list of the tab Compare, as {!r}."
FULL = f"At most {EDITED_MAX} edited copies can be compared; give this one the name of another."


class TemplateTab:
    """Builds the tab inside the layout that is open. workbench: takes edited copies."""

    def __init__(self, assistants: Assistants, workbench: WorkbenchTab) -> None:
        self.engine, self.templates = assistants.engine, assistants.names
        self.workbench = workbench
        self.threads = CapacityLimiter(ASIDE)
        self._build(assistants.name)
        self._connect()

    def _build(self, first: str) -> None:
        choices = [(template.name, name) for name, template in self.templates.items()]
        text = to_toml(self.templates[first])
        with gr.Row(elem_classes="run"):
            self.choice = gr.Dropdown(choices, value=first, label="Begin with", min_width=200)
            self.load = gr.Button("Load", size="sm", elem_id="template-load", min_width=90, scale=0)
            self.undo = gr.Button("Undo", size="sm", elem_id="template-undo", min_width=90, scale=0,
                                  visible="hidden")  # fmt: skip
        self.text = gr.Textbox(text, label="Template file", lines=18, max_lines=36,
                               info="TOML, as prompts/README.md explains",
                               elem_id="template", elem_classes="mono")  # fmt: skip
        self.status = gr.Markdown("", elem_id="template-status", elem_classes="status")
        with gr.Row(elem_classes="run"):
            self.buttons = [
                gr.Button("Add to the comparison", size="md", elem_id="template-add"),
                gr.Button("Save as TOML", size="md", elem_id="save-toml"),
                gr.Button("Save as Jinja chat template", size="md", elem_id="save-jinja"),
            ]
        self.file = gr.Markdown("", visible="hidden", elem_id="template-file")
        self.former = gr.State("")

    def _connect(self) -> None:
        text = [self.text, self.former]
        box = [*text, self.undo]
        outputs = [self.status, *self.buttons]
        add, toml, jinja = self.buttons
        self.text.change(self.check, self.text, outputs, trigger_mode="always_last", **QUIET)
        self.load.click(self.replace, [self.choice, *text], box, **QUIET)
        self.undo.click(lambda text, former: self.put(former, text), text, box, **QUIET)
        add.click(self.add, [self.text, self.workbench.session],
                  [self.workbench.names, self.status], **QUIET)  # fmt: skip
        toml.click(self.save_toml, self.text, [self.file, self.status], **QUIET)
        jinja.click(self.save_jinja, self.text, [self.file, self.status], **QUIET)

    def read(self, text: Untrusted) -> PromptTemplate:
        """Raises TemplateError."""
        template = read_template(text)
        template.check(self.engine.tokenizer)
        return template

    async def check(self, text: Untrusted) -> list[Any]:
        """What is to be said of the text in the box; what is not usable cannot be saved."""
        try:
            sentence = await to_thread.run_sync(self.usable, text, limiter=self.threads)
            usable = True
        except AssistantError as error:
            sentence, usable = str(error), False
        return [status_line(sentence), *(gr.update(interactive=usable) for _ in self.buttons)]

    def usable(self, text: Untrusted) -> str:
        """The sentence that says so. Raises TemplateError."""
        template = self.read(text)
        size = len(self.engine.tokenizer.encode(template.preamble, trusted=True))
        return f"Usable. The preamble has {size:,} tokens; its hash is {template.short}."

    def replace(self, name: Untrusted, text: Untrusted, former: Untrusted) -> Update:
        template = self.templates.get(name) if isinstance(name, str) else None
        return self.put(to_toml(template), text) if template else {self.text: gr.skip()}

    def put(self, new: Untrusted, old: Untrusted) -> Update:
        """Another text in the box; the one before can be put back."""
        return {self.text: new, self.former: old, self.undo: visible(True)}

    def add(self, text: Untrusted, session: Session) -> Update:
        """A copy for the comparison, under its own name."""
        try:
            template = self.read(text)
            name = f"{template.name}, edited"
            if name not in session.edited and len(session.edited) == EDITED_MAX:
                raise TemplateError(FULL)
        except AssistantError as error:
            return {self.status: status_line(str(error))}
        session.edited[name] = template
        choices = [*self.workbench.templates, *session.edited]
        return {
            self.workbench.names: gr.update(choices=choices),
            self.status: status_line(ADDED.format(name)),
        }

    def save_toml(self, text: Untrusted) -> Update:
        return self.save(text, "prompt.toml", "application/toml", lambda template: text)

    def save_jinja(self, text: Untrusted) -> Update:
        return self.save(text, "chat_template.jinja", "text/plain", lambda t: t.to_jinja())

    def save(
        self, text: Untrusted, name: str, kind: str, write: Callable[[PromptTemplate], str]
    ) -> Update:
        try:
            return {self.file: file(name, kind, write(self.read(text)))}
        except AssistantError as error:
            return {self.status: status_line(str(error))}
