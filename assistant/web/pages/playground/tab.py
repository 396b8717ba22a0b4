"""The playground tab: its own tabs, in which prompts are tried.

Knows which tabs there are; each is a module of its own.
"""

import gradio as gr

from assistant.web.pages.chat.templates import Assistants
from assistant.web.pages.playground.compare_tab import WorkbenchTab
from assistant.web.pages.playground.fill_tab import FillTab
from assistant.web.pages.templates.tab import TemplateTab
from assistant.web.sources import Sources


def build_playground(assistants: Assistants, sources: Sources) -> None:
    """Builds the tabs inside the layout that is open."""
    with gr.Tabs(elem_id="playground"):
        with gr.Tab("Continue"):
            gr.Column(elem_id="continue-page")  # its scripts do the rest, over routes.py
        with gr.Tab("Fill in"):
            FillTab(assistants.engine, sources)
        with gr.Tab("Compare"):
            workbench = WorkbenchTab(assistants)
        with gr.Tab("Template"):
            TemplateTab(assistants, workbench)
