"""The tab that fills in the middle: one text with holes, the candidates as changes of it.

Knows components and events; what a hole is and how it is filled is assistant/completion's.
"""

from dataclasses import dataclass

import gradio as gr

from assistant.completion.fill import FILL_HERE, ORDERS, Filling, fill, lacking
from assistant.text import check_prompt
from assistant.web.pages.doors import said
from assistant.web.pages.playground.controls import QUIET, Controls, read
from assistant.web.pages.playground.html import cards, filled
from assistant.web.pages.playground.tab_base import Card, Runs, Work, pressed, visible

TEXT = f'''def average(numbers):
    """The mean of a list of numbers."""
    {FILL_HERE}
    return total / len(numbers)
'''
HOW = f"Write {FILL_HERE} where something is missing; holes are filled in turn."
ORDER = "Prefix, suffix, middle; or the suffix first"
TAKEN = "Taken over; Undo puts the text with its holes back."


@dataclass(eq=False, slots=True)
class Candidate(Card):
    filling: Filling = None

    @property
    def text(self):
        return "\n".join(fill.text for fill in self.filling.fills)

    @property
    def body(self):
        return filled(self.filling.fills) if self.filling.fills else ""


class Session:
    """What the server keeps for one open page. former: the text that was replaced last."""

    def __init__(self):
        self.cards, self.former, self.work = [], "", Work()


class FillTab(Runs):
    """Builds the tab inside the layout that is open. sources: a Sources."""

    def __init__(self, engine, sources):
        self.engine, self.sources = engine, sources
        self._build()
        self._connect()

    def _build(self):
        unable = lacking(self.engine.tokenizer)
        with gr.Row(elem_classes="play-row"):
            with gr.Column(scale=3, min_width=300):
                self.text = gr.Textbox(
                    TEXT,
                    label="Text with holes",
                    info=unable or HOW,
                    lines=10,
                    max_lines=24,
                    elem_id="fill",
                    elem_classes="mono",
                )
                with gr.Row(elem_classes="switches"):
                    self.order = gr.Radio(list(ORDERS), value=ORDERS[0], label="Order", info=ORDER)
                    self.undo = gr.Button("Undo", size="sm", visible="hidden", elem_id="fill-undo")
                self.running = self.build_run("Fill in", "fill-in")
                self.run.interactive = not unable
                self.written = gr.Markdown("", latex_delimiters=[], elem_id="fills")
            self.controls = Controls(self.engine, "Candidates", max_new_tokens=64)
        self.action = gr.Textbox(visible="hidden", elem_id="take")
        self.go = gr.Button(visible="hidden", elem_id="take-go")
        self.session = gr.State(Session())

    def _connect(self):
        asked = [self.text, self.order, *self.controls.inputs, self.session]
        box = [self.text, self.undo, self.status]
        self.run.click(
            self.fill_in, asked, [*self.running, self.written], trigger_mode="multiple", **QUIET
        )
        self.stop.click(self.end, self.session, None, **QUIET)
        self.go.click(self.take, [self.action, self.text, self.session], box, **QUIET)
        self.undo.click(self.put_back, [self.text, self.session], box, **QUIET)

    async def fill_in(self, text, order, *values):
        """As many candidates as were asked for, while they are written."""
        *controls, session = values

        def start():
            number, options = read(*controls)
            fillings = fill(self.engine, check_prompt(text), order=order, count=number, **options)
            session.cards = [
                Candidate(f"Candidate {place + 1}", filling=filling)
                for place, filling in enumerate(fillings)
            ]
            return zip(session.cards, fillings, strict=True)

        async for page in self.write(session, start):
            yield page

    def take(self, action, text, session):
        """A candidate as the new text."""
        _, numbers = pressed(action)
        fills = [card.filling.fills for card in session.cards]
        if not numbers or numbers[0] >= len(fills) or not fills[numbers[0]]:
            return gr.skip()
        return self.put(fills[numbers[0]][-1].whole, text, session, TAKEN)

    def put_back(self, text, session):
        return self.put(session.former, text, session)

    def put(self, new, old, session, status=""):
        session.former = old
        return {self.text: new, self.undo: visible(True), self.status: said(status)}

    def results(self, session):
        return {self.written: cards(session.cards, acts=[("take", "Take it")])}
