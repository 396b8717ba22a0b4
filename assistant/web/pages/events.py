"""What the page's events and routes have in common: options, types, and sentences for failures."""

import logging
from collections.abc import AsyncGenerator
from typing import Any, TypeAlias

from gradio.blocks import Block

from assistant.errors import AssistantError
from assistant.web.gradio_inside import FREE

log = logging.getLogger(__name__)

BUSY = "A reply is being written; stop it first."
INTERNAL = "Something went wrong inside the server; its log says more. Try again."
ASIDE = 2  # threads for what a tab is told of a long text, which takes seconds, beside its replies
AGAIN_S = 1.0  # how long the buttons of a reply that has begun are sent again
QUIET: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "preprocess": False,
}
QUIET_AND_FREE: dict[str, Any] = {**QUIET, **FREE}

Untrusted: TypeAlias = Any  # a value from a page: whoever it is handed to checks it
Update: TypeAlias = dict[Block, Any]  # component to its new value, or to what gr.update() gives
Updates: TypeAlias = AsyncGenerator[Update, None]


def explain_error(error: Exception, otherwise: str = INTERNAL) -> str:
    """What a person reads of `error`. What is a mistake of ours goes to the log."""
    if isinstance(error, AssistantError):
        return str(error)
    log.error("a part of the page failed", exc_info=error)
    return otherwise
