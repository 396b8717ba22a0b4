"""What travels between the page and the server: sentences, and JSON in hidden components.

Whatever comes from there is untrusted: here it becomes values of the rooms below, or a sentence.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

from assistant.conversation import Conversation
from assistant.errors import HistoryError
from assistant.text import quoted
from assistant.web.gate.bodies import read_json

Untrusted: TypeAlias = Any  # a value from a page: whoever it is handed to checks it
ID_MAX = 40  # characters of an id that the browser gave


def one_line(html: str) -> str:
    """`html` as Gradio's Markdown component leaves it alone: one line, without the mark that this
    component puts in the place of formulas."""
    return html.replace("\n", "&#10;").replace("%%%LATEX_BLOCK_", "&#37;%%LATEX_BLOCK_")


def status_line(text: str) -> str:
    """A sentence for a line that tells how things stand."""
    return one_line(f"<p>{escape(text)}</p>") if text else ""


def data(values: dict[str, Any], articles: Iterable[str] = ()) -> str:
    """`values` as the content of a hidden component, with HTML that this room has rendered."""
    return one_line(f'<pre class="data">{escape(json.dumps(values))}</pre>{"".join(articles)}')


def read_object(text: Untrusted) -> dict[str, Any]:
    """The JSON object in `text`. Raises HistoryError."""
    try:
        value = read_json(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise HistoryError("The page sent nothing that can be read; reload it.")
    return value


@dataclass(frozen=True, slots=True)
class OpenPath:
    """The open path of a conversation of the browser. id: the conversation's; nids: the ids of the
    turns. Both are the browser's words for them, and are only ever sent back to it."""

    id: str
    nids: tuple[str, ...]
    conversation: Conversation
    settings: dict[str, Any]

    @classmethod
    def of(cls, text: Untrusted, keep: Untrusted = None) -> "OpenPath":
        """The path that the page sent. keep: how many of its turns count, else what the page says.
        Raises HistoryError."""
        value = read_object(text)
        turns, settings = value.get("turns"), value.get("settings")
        if not isinstance(turns, list):
            raise HistoryError(f"The history must be a list of turns, not {quoted(turns)}.")
        keep = value.get("keep") if keep is None else keep
        turns = turns[:keep] if type(keep) is int and keep >= 0 else turns
        conversation = Conversation.from_history(turns, last=None)
        nids = tuple(_id(turn.get("nid")) for turn in turns)
        settings = settings if isinstance(settings, dict) else {}
        return cls(_id(value.get("id")), nids, conversation, settings)

    def after(self, count: int) -> str | None:
        """The id of the last of the first `count` turns, None for none."""
        return self.nids[count - 1] if count else None


def _id(value: Untrusted) -> str:
    return value if isinstance(value, str) and len(value) <= ID_MAX else ""
