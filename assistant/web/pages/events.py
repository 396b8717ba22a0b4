"""What the page's events have in common: their options, and the types of what they give."""

from collections.abc import AsyncGenerator
from typing import Any, TypeAlias

from gradio.blocks import Block

from assistant.web.gradio_inside import FREE

ASIDE = 2  # threads for what a tab is told of a long text, which takes seconds, beside its replies
AGAIN_S = 1.0  # how long the buttons of a reply that has begun are sent again
QUIET: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "preprocess": False,
}
QUIET_AND_FREE: dict[str, Any] = {**QUIET, **FREE}

Update: TypeAlias = dict[Block, Any]  # component to its new value, or to what gr.update() gives
Updates: TypeAlias = AsyncGenerator[Update, None]
