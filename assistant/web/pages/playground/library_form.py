"""The prompt library as a small form: choose a template or a question, fill in its variables.

Knows components and the kinds of variables. Nothing is sent from here: who builds the form says
what its buttons do.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import gradio as gr
from gradio.components import Component

from assistant.completion.library import Entry, Variable
from assistant.completion.raw import Raw
from assistant.engine.protocol import Tokenizer
from assistant.web.pages.doors import status_line
from assistant.web.pages.events import QUIET, Untrusted

LINES = 5  # of a field for code

# An entry, its fields in the order of its variables, its button.
Form: TypeAlias = tuple[Entry, list[Component], gr.Button]


class LibraryForm:
    """Builds the form in the layout that is open. shelves: for each kind of entry what is said
    before its name, the label of its button, and the entries. forms: for each kind its Forms."""

    def __init__(self, tokenizer: Tokenizer, *shelves: tuple[str, str, Iterable[Entry]]) -> None:
        names = [f"{kind}{entry.name}" for kind, _, entries in shelves for entry in entries]
        self.forms: list[list[Form]] = []
        groups = []
        with gr.Accordion("Prompt library", open=False, elem_id="library"):
            choice = gr.Dropdown(names, value=None, label="Template", elem_id="library-choice")
            for _, label, entries in shelves:
                self.forms.append([])
                for entry in entries:
                    with gr.Column(visible=False, elem_classes="library-form") as group:
                        form = _form(entry, label, entry.missing_tokens(tokenizer))
                    self.forms[-1].append(form)
                    groups.append(group)

        def show(chosen: Untrusted) -> list[Any]:
            return [gr.update(visible=name == chosen) for name in names]

        choice.input(show, choice, groups, **QUIET)


def read_form(entry: Entry, fields: Sequence[Untrusted]) -> Raw:
    """An entry of a form with what its fields hold. Raises TextError."""
    names = [variable.name for variable in entry.variables]
    return entry.fill(dict(zip(names, fields, strict=True)))


def _form(entry: Entry, label: str, lacking: str | None) -> Form:
    gr.Markdown(status_line(lacking or entry.why), elem_classes="why")
    fields = [_field(variable) for variable in entry.variables]
    return entry, fields, gr.Button(label, size="md", interactive=not lacking, elem_classes="put")


def _field(variable: Variable) -> Component:
    """The component for a variable."""
    label, default = variable.label or variable.name, variable.default or ""
    match variable.kind:
        case "choice":
            return gr.Dropdown(list(variable.choices), value=default or None, label=label)
        case "code":
            return gr.Textbox(default, label=label, lines=LINES, max_lines=20, elem_classes="mono")
        case "number":
            label += f", {variable.least:,} to {variable.most:,}"
    return gr.Textbox(default, label=label, max_lines=1)
