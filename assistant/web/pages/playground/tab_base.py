"""What the playground's tabs have in common: a button that starts work, one that stops it, and a
line that says how it stands.

Knows replies, their events and these components; what is shown of the work is each tab's.
"""

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from functools import wraps

import gradio as gr
from anyio import to_thread

from assistant.engine.protocol import Waiting
from assistant.errors import AssistantError, SourcesBusy
from assistant.generation.generate import Delta, Done
from assistant.web.gate.bodies import read_json
from assistant.web.pages.attribution.html import listed
from assistant.web.pages.chat.tab import AGAIN_S, BUSY, INTERNAL, summary
from assistant.web.pages.doors import said
from assistant.web.polling import side_by_side
from assistant.web.sources import Building

log = logging.getLogger(__name__)

SETTLE_S = 0.3  # buttons that change and change back faster can stay as they are in Gradio's page


class Work:
    """What runs for one page's tab: one thing at a time, which may be several replies. It can be
    stopped before it has begun."""

    def __init__(self):
        self.sources, self.stopped = None, False

    @property
    def running(self):
        return self.sources is not None

    async def follow(self, start):
        """As side_by_side() of `start()`, which is called in a thread and may raise."""
        self.sources, self.stopped = [], False
        try:
            self.sources = await to_thread.run_sync(start)
            if self.stopped:
                self.stop()
            async with aclosing(side_by_side(self.sources)) as steps:
                async for news in steps:
                    yield news
        finally:
            for source in self.sources:
                source.close()
            self.sources = None

    def stop(self):
        self.stopped = True
        for source in self.sources or ():
            source.close()


@dataclass(eq=False, slots=True)
class Card:
    """What a reply is shown on; `text` is what was written. over: nothing is written any more."""

    title: str
    note: str = "Reading"
    over: bool = False
    matches: list | None = None  # of what was written, once the sources were looked up

    @property
    def foot(self):
        return said(self.note) + listed(self.matches or ())

    def take(self, event, reply):
        """What is new in the reply: an event, or the exception that ended it."""
        match event:
            case Delta():
                self.note = "Writing"
            case Waiting():
                self.note = f"Waiting: number {event.place} in line" if event.place else "Reading"
            case Done():
                self.note = f"{summary(reply, event)} · seed {reply.sampling.seed}"
                self.over = True
            case Exception():
                self.note = sentence(event)
                self.over = True


class Runs:
    """The base of a tab. It gives `results(session)`, the page's update with what was written so
    far; `session.work` is a Work. sources: a Sources, of a tab whose cards are looked up there."""

    sources = None

    def build_run(self, label, name, stop="Stop"):
        """The row of buttons. name: the start of their element ids."""
        with gr.Row(elem_classes="run"):
            self.run = gr.Button(label, variant="primary", size="md", min_width=110, scale=0,
                                 elem_id=name)  # fmt: skip
            self.stop = gr.Button(stop, size="md", min_width=110, scale=0, visible="hidden",
                                  elem_id=f"{name}-stop")  # fmt: skip
            self.status = gr.Markdown("", elem_id=f"{name}-status", elem_classes="status")
        return [self.run, self.stop, self.status]

    async def write(self, session, start):
        """Pages, while the (card, reply) pairs that `start()` gives are written."""
        pairs = []

        def begin():
            pairs.extend(start())
            return [reply for _, reply in pairs]

        def take(index, event):
            card, reply = pairs[index]
            card.take(event, reply)

        async for page in self.work(session, begin, take):
            yield page

    async def work(self, session, start, take, phase="Reading"):
        """Pages, while the sources that `start()` gives are read; take(index, event) of each event,
        an exception too. What `start` or `take` raises is said."""
        if session.work.running:
            yield {self.status: said(BUSY)}
            return
        yield {**self.busy(True), self.status: said(phase)}
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async for news in session.work.follow(start):
                for index, event in news:
                    take(index, event)
                # Of two updates that follow each other fast Gradio can lose the first. And without
                # news too: only a step lets a page that was closed end its work.
                again = self.busy(True) if clock() < begun + AGAIN_S else {self.run: gr.skip()}
                yield again | (self.results(session) if news else {})
            note = "Stopped" if session.work.stopped else "Done"
        except Exception as error:
            note = sentence(error)
        if self.sources:
            async for step in self._look_up(session):
                yield {self.status: said(step)}
        await asyncio.sleep(begun + SETTLE_S - clock())
        yield {**self.results(session), **self.busy(False), self.status: said(note)}

    async def _look_up(self, session):
        """Where the texts of the cards come from; sentences, while the index is not there yet. A
        card that was not looked up says so where too many look-ups are the reason."""
        for card in session.cards:
            if card.matches is not None or not card.text:
                continue
            try:
                async for step in self.sources.check(card.text):
                    if not isinstance(step, Building):
                        card.matches = step
                    elif session.work.stopped and step.part:  # whoever stops waits for no building
                        return
                    else:
                        yield str(step)
            except SourcesBusy as error:
                card.note = f"{card.note} · {error}"
            except Exception as error:
                log.warning("sources were not looked up: %s", sentence(error))
                return

    async def end(self, session):
        session.work.stop()

    def busy(self, running):
        return {
            self.run: visible(not running),
            self.stop: visible(running),
        }


def visible(yes):
    """An update that shows a component or hides it, which stays in the page."""
    return gr.update(visible=True if yes else "hidden")


def told(handler):
    """A handler that runs in the tab's `threads` (an anyio limiter), and whose refusals,
    AssistantErrors, become the tab's status line."""

    @wraps(handler)
    async def handle(self, *values):
        try:
            return await to_thread.run_sync(handler, self, *values, limiter=self.threads)
        except AssistantError as error:
            return {self.status: said(str(error))}

    return handle


def pressed(action):
    """(act, numbers) of a button that the page's script sent; ("", []) for what is none."""
    try:
        act, *numbers = read_json(action)
    except (ValueError, TypeError):
        return "", []
    known = isinstance(act, str) and all(type(number) is int for number in numbers)
    return (act, numbers) if known and min(numbers, default=0) >= 0 else ("", [])


def sentence(error, otherwise=INTERNAL):
    """What a person reads of `error`. What is a mistake of ours goes to the log."""
    if isinstance(error, AssistantError):
        return str(error)
    log.error("a tab of the page failed", exc_info=error)
    return otherwise
