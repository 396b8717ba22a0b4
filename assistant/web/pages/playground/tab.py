"""The playground tab: its own tabs, in which prompts are tried.

Knows which tabs there are; each is a module of its own.
"""

import gradio as gr

from assistant.web.pages.chat.templates import Assistants
from assistant.web.pages.playground.compare_tab import WorkbenchTab
from assistant.web.pages.playground.continue_tab import CompletionTab
from assistant.web.pages.playground.edit_tab import TemplateTab
from assistant.web.pages.playground.fill_tab import FillTab
from assistant.web.sources import Sources


def build_playground(assistants: Assistants, sources: Sources) -> None:
    """Builds the tabs inside the layout that is open."""
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
