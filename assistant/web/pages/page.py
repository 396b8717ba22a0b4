"""The page: the tabs together, its look, and the example questions of a checkpoint."""

import json
from html import escape
from typing import Any

import gradio as gr

from assistant.chat.assistant import Assistant
from assistant.engine.protocol import Engine
from assistant.paths import MODELS, STATIC
from assistant.web.pages.about import about
from assistant.web.pages.attribution.tab import AttributionTab
from assistant.web.pages.chat.tab import build_chat, is_as_shipped
from assistant.web.pages.chat.templates import Assistants
from assistant.web.pages.names import add_api
from assistant.web.pages.playground.tab import build_playground
from assistant.web.sources import Sources

TITLE = "Tech Assistant"
STYLES = (
    "page.css",
    "frame/frame.css",
    "chat/chat.css",
    "reading/reading.css",
    "composer/composer.css",
    "playground/playground.css",
    "playground/continue.css",
    "playground/compare.css",
    "templates/templates.css",
    "attribution/sources.css",
)
# Within the page itself, and before Gradio builds it; start.js asks for all the others.
SCRIPTS = ("stream.js", "start.js")
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
COLOURS = {
    "body_background_fill": "#ffffff",
    "body_text_color": "#1e2430",
    "body_text_color_subdued": "#566072",
    "background_fill_secondary": "#f5f6f9",
    "border_color_primary": "#dfe3ea",
    "block_background_fill": "#ffffff",
    "block_label_text_color": "#1e2430",
    "block_title_text_color": "#1e2430",
    "block_info_text_color": "#566072",
    "input_background_fill": "#ffffff",
    "input_border_color": "#cdd3dd",
    "input_border_width": "1px",
    "input_placeholder_color": "#667085",
    "button_primary_background_fill": "#4147c9",
    "button_primary_background_fill_hover": "#353ab0",
    "button_primary_text_color": "#ffffff",
    "slider_color": "#4147c9",
}
DARK = {
    "body_background_fill": "#12151c",
    "body_text_color": "#e7eaf0",
    "body_text_color_subdued": "#a2abba",
    "background_fill_secondary": "#1b202a",
    "border_color_primary": "#2f3644",
    "block_background_fill": "#12151c",
    "block_label_text_color": "#e7eaf0",
    "block_title_text_color": "#e7eaf0",
    "block_info_text_color": "#a2abba",
    "input_background_fill": "#171b23",
    "input_border_color": "#3a4252",
    "input_placeholder_color": "#8d97a8",
    "button_primary_background_fill": "#4f56db",
    "button_primary_background_fill_hover": "#6168e6",
    "button_primary_text_color": "#ffffff",
    "slider_color": "#7a80f0",
}
EXAMPLES = (
    "What does zip do in Python?",
    "Write a function that reverses a linked list in Python.",
    "Explain this regular expression: ^\\d{4}-\\d{2}$",
    "How do I find all files larger than 100 MB on Linux?",
)
SESSIONS_MAX = 500  # open pages that are served at once; the oldest leave


def build_page(assistants: Assistants, sources: Sources) -> gr.Blocks:
    """The Blocks with its tabs and the API."""
    assistant = assistants.default
    page = gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True)
    with page:
        # Our own words, and escaped names; cleaning them would take the button away.
        header = _header(assistant)
        gr.Markdown(header, latex_delimiters=[], sanitize_html=False, elem_id="header")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Chat", elem_id="chat"):
                build_chat()
            with gr.Tab("Playground", elem_id="playground-tab"):
                build_playground(assistants, sources)
            with gr.Tab("Attribution") as tab:
                AttributionTab(sources, tab)
            with gr.Tab("About"):
                gr.Markdown(about(assistant.engine), latex_delimiters=[], elem_id="about")
        add_api(assistant)
    return page


def _header(assistant: Assistant) -> str:
    engine, template = assistant.engine, escape(assistant.template.name)
    model = escape(f"{engine.model} + {engine.adapter}" if engine.adapter else engine.model)
    return (
        f'<div class="bar"><h1>{TITLE}</h1><span id="model-name" title="Model">{model}</span>'
        '<button type="button" class="chip" id="template-chip" title="Prompt template">'
        f"Prompt: {template}</button></div>"
    )


def look() -> dict[str, Any]:
    """Theme, styles and scripts, as mount_gradio_app takes them. No font comes from a network."""
    theme = gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="lg",
        spacing_size="sm",
        font=FONT,
        font_mono=MONO,
    ).set(**COLOURS, **{f"{name}_dark": value for name, value in DARK.items()})
    # Asked for at once, not one after the other as they import each other
    preloads = (
        f'<link rel="modulepreload" href="page/static/{path.relative_to(STATIC).as_posix()}">'
        for path in sorted(STATIC.rglob("*.js"))
        if path.name not in SCRIPTS
    )
    scripts = (
        f"<script>{(STATIC / name).read_text(encoding='utf-8')}</script>" for name in SCRIPTS
    )
    return {
        "theme": theme,
        "css": "".join((STATIC / name).read_text(encoding="utf-8") for name in STYLES),
        "head": "".join([*preloads, *scripts]),
    }


def examples_for(engine: Engine) -> tuple[str, ...]:
    """Questions that the model can answer: the embedded checkpoint brings its own."""
    if not is_as_shipped(engine):
        return EXAMPLES
    try:
        examples = json.loads((MODELS / engine.model / "examples.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return EXAMPLES
    return tuple(examples)[:6]
