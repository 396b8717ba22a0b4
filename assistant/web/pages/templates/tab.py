"""The template editor's tab: where its scripts build it, and the door to the comparison.

The scripts in static/templates/ do the rest, over routes.py.
"""

from typing import Any

import gradio as gr
from anyio import CapacityLimiter, to_thread

from assistant.errors import AssistantError, TemplateError
from assistant.prompting.load import read_template
from assistant.prompting.template import PromptTemplate
from assistant.web.gate.bodies import read_json
from assistant.web.pages.chat.templates import Assistants
from assistant.web.pages.events import ASIDE, QUIET, Untrusted, Update
from assistant.web.pages.playground.compare_tab import Session, WorkbenchTab
from assistant.web.pages.playground.html import data

EDITED_MAX = 8  # copies of one page that can be compared
ADDED = "It stands in the list of the tab Compare, as {!r}."
FULL = f"At most {EDITED_MAX} edited copies can be compared; give this one the name of another."


class TemplateTab:
    """Builds the tab inside the layout that is open. workbench: takes edited copies."""

    def __init__(self, assistants: Assistants, workbench: WorkbenchTab) -> None:
        self.tokenizer, self.workbench = assistants.engine.tokenizer, workbench
        self.threads = CapacityLimiter(ASIDE)
        gr.Column(elem_id="template-page")
        self.added = gr.Textbox(visible="hidden", elem_id="add-template")
        self.go = gr.Button(visible="hidden", elem_id="add-template-go")
        self.told = gr.Markdown("", visible="hidden", elem_id="added-template")
        outputs = [workbench.names, self.told]
        self.go.click(self.add, [self.added, workbench.session], outputs, **QUIET)

    async def add(self, text: Untrusted, session: Session) -> Update:
        """A copy for the comparison, under its own name. text: a template file, as JSON."""
        try:
            template = await to_thread.run_sync(self._read, text, limiter=self.threads)
            name = f"{template.name}, edited"
            if name not in session.edited and len(session.edited) == EDITED_MAX:
                raise TemplateError(FULL)
        except AssistantError as error:
            return {self.told: self._say(str(error), bad=True)}
        session.edited[name] = template
        choices = [*self.workbench.templates, *session.edited]
        return {
            self.workbench.names: gr.update(choices=choices),
            self.told: self._say(ADDED.format(name)),
        }

    def _read(self, text: Untrusted) -> PromptTemplate:
        """Raises TemplateError."""
        try:
            template = read_template(read_json(text))
        except ValueError:
            raise TemplateError("What came from the editor is no text; try again.") from None
        template.check(self.tokenizer)
        return template

    def _say(self, sentence: str, *, bad: bool = False) -> Any:
        return data({"sentence": sentence, "bad": bad})
