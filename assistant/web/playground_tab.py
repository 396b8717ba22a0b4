"""The playground tab: its own tabs, in which prompts are tried.

Knows which tabs there are; each is a module of its own.
"""

import gradio as gr

from assistant.web.completion_tab import CompletionTab
from assistant.web.fill_tab import FillTab
from assistant.web.template_tab import TemplateTab
from assistant.web.workbench_tab import WorkbenchTab


class PlaygroundTab:
    """Builds the tabs inside the layout that is open. assistants: an Assistants. sources: a
    Sources."""

    def __init__(self, assistants, sources):
        with gr.Tabs(elem_id="playground"):
            # What comes from the chat must find its place, whichever tab is open.
            with gr.Tab("Continue", render_children=True):
                CompletionTab(assistants.engine, sources)
            with gr.Tab("Fill in"):
                FillTab(assistants.engine, sources)
            with gr.Tab("Compare"):
                workbench = WorkbenchTab(assistants)
            with gr.Tab("Edit a prompt"):
                TemplateTab(assistants, workbench)
