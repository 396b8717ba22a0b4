"""What the server keeps for the tab that continues a prompt: the prompt and its continuations.

Knows replies, their events and what the chat hands over, no components.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.completion.inspector import Token
from assistant.completion.raw import Raw
from assistant.conversation import Turn, trusted_ids
from assistant.engine.protocol import Tokenizer
from assistant.errors import TextError
from assistant.generation.generate import Delta, Done
from assistant.prompting.template import Segment
from assistant.sampling import check_stops
from assistant.web.gate.bodies import read_json
from assistant.web.pages.attribution.html import underline
from assistant.web.pages.events import Untrusted
from assistant.web.pages.playground.tab_base import Card, TabSession, Written

# A dialogue shows what a base model does: it answers, and then goes on to write the next question.
PROMPT = "-----\n\nHuman: How do I read a file line by line?\n\nAssistant:"
UNREADABLE = "What came from the chat is not a prompt; open the turn again."


@dataclass(eq=False, slots=True)
class Continuation(Card):
    """raw, special: the prompt, and how it was read. begun: the ids behind it that stood there
    before anything was written; decode: their tokenizer's. ids: those of all the text, None where
    unknown. tokens: its tokens, once they were inspected."""

    raw: Raw = Raw("")
    special: bool = True
    begun: tuple[int, ...] = ()
    decode: Callable[[Sequence[int]], str] | None = None
    text: str = ""
    ids: tuple[int, ...] | None = None
    tokens: tuple[Token, ...] = ()

    @property
    def body(self) -> str:
        return underline(self.text, self.matches or ())

    def take(self, event: object, reply: Written) -> None:
        Card.take(self, event, reply)
        if isinstance(event, Delta):
            self.text += event.text
        if isinstance(event, Done) and event.cut:  # a stop string begins in what was begun
            self.text = self.text[: -event.cut]
        elif isinstance(event, Done) and event.ids is not None:
            self.ids = (*self.begun, *event.ids)
            if self.begun and self.decode:  # its last token may be the first half of a character
                self.text = self.decode(self.ids)


class Session(TabSession[Continuation]):
    """What the server keeps for one open page. raw: the prompt, with what is plain in it; former:
    the one that it replaced. origin: where in the chat it came from, in the browser's words;
    opened: the prompt that came from there."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = Raw(PROMPT)
        self.former: Raw | None = None
        self.origin: dict[str, Any] | None = None
        self.opened = ""
        self.inspected: Continuation | None = None

    def edit(self, prompt: Untrusted) -> Raw:
        """The prompt that stands in the box now. Raises TextError."""
        self.raw = self.raw.edited(Raw(prompt).text)
        return self.raw


def from_chat(
    message: Untrusted, tokenizer: Tokenizer
) -> tuple[Raw, Sequence[str], dict[str, Any], Continuation]:
    """A turn that the chat's script hands over: (its prompt, the strings that end a reply to it,
    where it stands in the browser's words, the reply that is there).

    message: JSON of {"segments": [[text, trusted], ...], "stop", "text", "ids", "id", "after"}.
    Raises RequestError.
    """
    try:
        value: Untrusted = read_json(message)
        segments = [Segment(text, trusted is True) for text, trusted in value["segments"]]
        raw, stops = Raw.from_segments(segments).checked(), check_stops(value.get("stop"))
        turn = Turn("assistant", str(value.get("text") or "").strip(), value.get("ids"))
        ids = trusted_ids(turn, tokenizer)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise TextError(UNREADABLE) from None
    origin = {name: value.get(name) for name in ("id", "after")}
    card = Continuation("The chat's reply", "", True, raw=raw, text=turn.text, ids=ids)
    return raw, stops, origin, card
