"""What travels from the server to Gradio's components: sentences, HTML, and JSON in hidden ones."""

import json
from html import escape
from typing import Any


def one_line(html: str) -> str:
    """`html` as Gradio's Markdown component leaves it alone: one line, without the mark that this
    component puts in the place of formulas."""
    return html.replace("\n", "&#10;").replace("%%%LATEX_BLOCK_", "&#37;%%LATEX_BLOCK_")


def status_line(text: str) -> str:
    """A sentence for a line that tells how things stand."""
    return one_line(f"<p>{escape(text)}</p>") if text else ""


def data(values: dict[str, Any]) -> str:
    """`values` as the content of a hidden component."""
    return one_line(f'<pre class="data">{escape(json.dumps(values))}</pre>')
