"""The prompt library as a small form: choose a template, fill in its variables.

Knows components and the kinds of variables. Nothing is sent from here: who builds the form says
what its buttons do.
"""

import gradio as gr

from assistant.web.controls import QUIET
from assistant.web.playground_html import said

LINES = 5  # of a field for code


class LibraryForm:
    """Builds the form in the layout that is open. entries: library.Entry. forms: for each entry
    (entry, its fields in the order of its variables, its button)."""

    def __init__(self, entries, tokenizer):
        with gr.Accordion("Prompt library", open=False, elem_id="library"):
            choice = gr.Dropdown(
                [(entry.name, entry.key) for entry in entries],
                value=None,
                label="Template",
                elem_id="library-choice",
            )
            groups, self.forms = [], []
            for entry in entries:
                with gr.Column(visible=False, elem_classes="library-form") as group:
                    lacking = entry.lacking(tokenizer)
                    gr.Markdown(said(lacking or entry.why), elem_classes="why")
                    fields = [_field(variable) for variable in entry.variables]
                    put = gr.Button("Put it in the box", size="md", interactive=not lacking,
                                    elem_classes="put")  # fmt: skip
                groups.append(group)
                self.forms.append((entry, fields, put))

        def show(key):
            return [gr.update(visible=entry.key == key) for entry in entries]

        choice.input(show, choice, groups, **QUIET)


def _field(variable):
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
