"""The tab that fills in the middle: one text with holes, the candidates as changes of it.

Knows components and events; what a hole is and how it is filled is assistant/completion's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from assistant.completion.fill import FILL_HERE, Filling, fill
from assistant.completion.spellings import ORDERS, find_spelling, missing_order, missing_tokens
from assistant.engine.protocol import Engine
from assistant.errors import SamplingError
from assistant.text import check_prompt
from assistant.web.pages.chat.tab import is_as_shipped
from assistant.web.pages.doors import status_line
from assistant.web.pages.events import QUIET, Untrusted, Update, Updates
from assistant.web.pages.playground.controls import Controls, in_words, read_controls
from assistant.web.pages.playground.html import cards, show_fills
from assistant.web.pages.playground.tab_base import Card, Runs, TabSession, read_action, visible
from assistant.web.sources import Sources

TEXT = f'''def average(numbers):
    """The mean of a list of numbers."""
    {FILL_HERE}
    return total / len(numbers)
'''
HOW = f"Write {FILL_HERE} where something is missing; holes are filled in turn."
HOW_EMBEDDED = f"{HOW} This very small model mostly guesses."
ORDER = "Which part the model reads first"
WORDS = {"PSM": "prefix first (PSM)", "SPM": "suffix first (SPM)"}
TAKEN = "Taken over; Undo puts the text with its holes back."
FORGOTTEN = "The server no longer keeps what this page did; fill in again."


@dataclass(eq=False, slots=True, kw_only=True)
class Candidate(Card):
    filling: Filling

    @property
    def text(self) -> str:
        return "\n".join(fill.text for fill in self.filling.fills)

    @property
    def body(self) -> str:
        return show_fills(self.filling.fills) if self.filling.fills else ""


class Session(TabSession[Candidate]):
    """What the server keeps for one open page. former: the text that was replaced, if one was."""

    def __init__(self) -> None:
        super().__init__()
        self.former: str | None = None


class FillTab(Runs[Session]):
    """Builds the tab inside the layout that is open."""

    def __init__(self, engine: Engine, sources: Sources) -> None:
        self.engine, self.sources = engine, sources
        self._build()
        self._connect()

    def _build(self) -> None:
        tokenizer = self.engine.tokenizer
        unable, spelling = missing_tokens(tokenizer), find_spelling(tokenizer)
        orders = [*(spelling.orders if spelling else ORDERS)]
        with gr.Row(elem_classes="play-row"):
            with gr.Column(scale=3, min_width=300):
                self.text = gr.Textbox(
                    TEXT,
                    label="Text with holes",
                    info=unable or (HOW_EMBEDDED if is_as_shipped(self.engine) else HOW),
                    lines=10,
                    max_lines=24,
                    elem_id="fill",
                    elem_classes="mono",
                )
                with gr.Row(elem_classes="switches"):
                    self.order = gr.Radio(
                        [(WORDS[name], name) for name in orders],
                        value=orders[0],
                        label="Order",
                        info=missing_order(tokenizer) or ORDER,
                        interactive=len(orders) > 1,
                    )
                    self.undo = gr.Button("Undo", size="sm", visible="hidden", elem_id="fill-undo")
                self.running = self.build_run("Fill in", "fill-in")
                self.run.interactive = not unable
                self.written = gr.Markdown("", latex_delimiters=[], elem_id="fills")
            self.controls = Controls(self.engine, "Candidates", max_new_tokens=64)
        self.action = gr.Textbox(visible="hidden", elem_id="take")
        self.go = gr.Button(visible="hidden", elem_id="take-go")
        self.session = gr.State(Session())

    def _connect(self) -> None:
        inputs = [self.text, self.order, *self.controls.inputs, self.session]
        box = [self.text, self.undo, self.status]
        self.run.click(
            self.fill_in, inputs, [*self.running, self.written], trigger_mode="multiple", **QUIET
        )
        self.stop.click(self.end, self.session, None, **QUIET)
        self.go.click(self.take, [self.action, self.text, self.session], box, **QUIET)
        self.undo.click(self.put_back, [self.text, self.session], box, **QUIET)

    async def fill_in(self, text: Untrusted, order: Untrusted, *values: Any) -> Updates:
        """As many candidates as were asked for, while they are written."""
        *controls, session = values

        def start() -> Iterable[tuple[Candidate, Filling]]:
            try:
                number, options = read_controls(*controls)
                checked = check_prompt(text)
                fillings = fill(self.engine, checked, order=order, count=number, **options)
            except SamplingError as error:
                raise in_words(error) from None
            session.cards = [
                Candidate(f"Candidate {place + 1}", filling=filling)
                for place, filling in enumerate(fillings)
            ]
            return zip(session.cards, fillings, strict=True)

        async for page in self.write(session, start):
            yield page

    def take(self, action: Untrusted, text: Untrusted, session: Session) -> Update:
        """A candidate as the new text."""
        if not session.cards:
            return {self.status: status_line(FORGOTTEN)}
        _, numbers = read_action(action)
        fills = [card.filling.fills for card in session.cards]
        if not numbers or numbers[0] >= len(fills) or not fills[numbers[0]]:
            return {self.text: gr.skip()}
        return self.put(fills[numbers[0]][-1].whole, text, session, TAKEN)

    def put_back(self, text: Untrusted, session: Session) -> Update:
        if session.former is None:
            return {self.status: status_line(FORGOTTEN)}
        return self.put(session.former, text, session)

    def put(self, new: str, old: Untrusted, session: Session, status: str = "") -> Update:
        session.former = old
        return {self.text: new, self.undo: visible(True), self.status: status_line(status)}

    def results(self, session: Session) -> Update:
        return {self.written: cards(session.cards, acts=[("take", "Take it")])}
