"""What the server keeps for the tab that continues a prompt: the prompt and its continuations.

Knows replies and their events, no components.
"""

from dataclasses import dataclass
from html import escape

from assistant.generate import Delta, Done
from assistant.playground.inspector import Token
from assistant.playground.raw import Raw
from assistant.web.runs import Card, Work

# A dialogue shows what a base model does: it answers, and then goes on to write the next question.
PROMPT = "-----\n\nHuman: How do I read a file line by line?\n\nAssistant:"


@dataclass(eq=False, slots=True)
class Continuation(Card):
    """raw, special: the prompt, and how it was read. begun: the ids behind it that stood there
    before anything was written. ids: those of all the text, None where unknown. tokens: its tokens,
    once they were inspected."""

    raw: Raw = None
    special: bool = True
    begun: tuple[int, ...] = ()
    text: str = ""
    ids: tuple[int, ...] | None = None
    tokens: tuple[Token, ...] = ()

    @property
    def body(self):
        return escape(self.text)

    def take(self, event, reply):
        Card.take(self, event, reply)
        if isinstance(event, Delta):
            self.text += event.text
        if isinstance(event, Done) and event.ids is not None:
            self.ids = (*self.begun, *event.ids)


class Session:
    """What the server keeps for one open page. raw: the prompt, with what is plain in it; former:
    the one that it replaced. origin: where in the chat it came from, in the browser's words."""

    def __init__(self):
        self.raw, self.former, self.origin = Raw(PROMPT), None, None
        self.cards, self.inspected, self.work = [], None, Work()

    def edit(self, prompt):
        """The prompt that stands in the box now. Raises TextError."""
        self.raw = self.raw.edited(Raw(prompt).text)
        return self.raw
