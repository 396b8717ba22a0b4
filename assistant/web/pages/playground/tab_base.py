"""What the playground's tabs have in common: a button that starts work, one that stops it, and a
line that says how it stands.

Knows replies, their events and these components; what is shown of the work is each tab's.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import wraps
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import gradio as gr
from anyio import to_thread
from gradio.components import Component

from assistant.completion.fill import Filling
from assistant.engine.protocol import Waiting
from assistant.errors import AssistantError, SourcesBusy
from assistant.generation.generate import Delta, Done
from assistant.generation.reply import Reply
from assistant.web.gate.bodies import read_json
from assistant.web.pages.attribution.html import match_list
from assistant.web.pages.chat.status import summary
from assistant.web.pages.doors import status_line
from assistant.web.pages.events import AGAIN_S, BUSY, Untrusted, Update, Updates, explain_error
from assistant.web.polling import side_by_side
from assistant.web.sources import Building, Sources

log = logging.getLogger(__name__)

Written: TypeAlias = Reply | Filling

SETTLE_S = 0.3  # buttons that change and change back faster can stay as they are in Gradio's page


class Source(Protocol):
    """What gives events, and can be closed from any thread."""

    def __next__(self) -> object: ...
    def close(self) -> object: ...


class Work:
    """What runs for one page's tab: one thing at a time, which may be several replies. It can be
    stopped before it has begun."""

    def __init__(self) -> None:
        self.sources: Sequence[Source] = ()
        self.running = self.stopped = False

    async def follow(
        self, start: Callable[[], Sequence[Source]]
    ) -> AsyncGenerator[list[tuple[int, object]], None]:
        """As side_by_side() of `start()`, which is called in a thread and may raise."""
        self.running, self.stopped = True, False
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
            self.sources, self.running = (), False

    def stop(self) -> None:
        self.stopped = True
        for source in self.sources:
            source.close()


@dataclass(eq=False, slots=True)
class Card:
    """What a reply is shown on; `text` is what was written, `body` the same as HTML. over: nothing
    is written any more. matches: of the text, once the sources were looked up."""

    title: str
    note: str = "Reading"
    over: bool = False
    matches: list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        raise NotImplementedError

    @property
    def body(self) -> str:
        raise NotImplementedError

    @property
    def foot(self) -> str:
        return status_line(self.note) + match_list(self.matches or ())

    def take(self, event: object, reply: Written) -> None:
        """What is new in the reply: an event, or the exception that ended it."""
        match event:
            case Delta():
                self.note = "Writing"
            case Waiting():
                self.note = f"Waiting: number {event.place} in line" if event.place else "Reading"
            case Done():
                self.note = f"{summary(reply.ledger, event)} · seed {reply.sampling.seed}"
                self.over = True
            case Exception():
                self.note = explain_error(event)
                self.over = True


AnyCard = TypeVar("AnyCard", bound=Card)


class TabSession(Generic[AnyCard]):
    """What the server keeps for one open page."""

    def __init__(self) -> None:
        self.work = Work()
        self.cards: list[AnyCard] = []


Session = TypeVar("Session", bound=TabSession[Any])


class Runs(Generic[Session]):
    """The base of a tab. sources: of one whose cards are looked up there."""

    sources: Sources | None = None

    def results(self, session: Session) -> Update:
        """The page's update with what was written so far."""
        raise NotImplementedError

    def build_run(self, label: str, name: str, stop: str = "Stop") -> list[Component]:
        """The row of buttons. name: the start of their element ids."""
        with gr.Row(elem_classes="run"):
            self.run = gr.Button(label, variant="primary", size="md", min_width=110, scale=0,
                                 elem_id=name)  # fmt: skip
            self.stop = gr.Button(stop, size="md", min_width=110, scale=0, visible="hidden",
                                  elem_id=f"{name}-stop")  # fmt: skip
            self.status = gr.Markdown("", elem_id=f"{name}-status", elem_classes="status")
        return [self.run, self.stop, self.status]

    async def write(
        self, session: Session, start: Callable[[], Iterable[tuple[Card, Written]]]
    ) -> Updates:
        """Pages, while the (card, reply) pairs that `start()` gives are written."""
        pairs: list[tuple[Card, Written]] = []

        def begin() -> list[Written]:
            pairs.extend(start())
            return [reply for _, reply in pairs]

        def take(index: int, event: object) -> None:
            card, reply = pairs[index]
            card.take(event, reply)

        async for page in self.work(session, begin, take):
            yield page

    async def work(
        self,
        session: Session,
        start: Callable[[], Sequence[Source]],
        take: Callable[[int, object], None],
        phase: str = "Reading",
    ) -> Updates:
        """Pages, while the sources that `start()` gives are read; take(index, event) of each event,
        an exception too. What `start` or `take` raises is said."""
        if session.work.running:
            yield {self.status: status_line(BUSY)}
            return
        yield {**self.busy(True), self.status: status_line(phase)}
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
            note = explain_error(error)
        if self.sources:
            async for step in self._look_up(session, self.sources):
                yield {self.status: status_line(step)}
        await asyncio.sleep(begun + SETTLE_S - clock())
        yield {**self.results(session), **self.busy(False), self.status: status_line(note)}

    async def _look_up(self, session: Session, sources: Sources) -> AsyncGenerator[str, None]:
        """Where the texts of the cards come from; sentences, while the index is not there yet. A
        card that was not looked up says so where too many look-ups are the reason."""
        for card in session.cards:
            if card.matches is not None or not card.text:
                continue
            try:
                async for step in sources.check(card.text):
                    if not isinstance(step, Building):
                        card.matches = step
                    elif session.work.stopped and step.part:  # whoever stops waits for no building
                        return
                    else:
                        yield str(step)
            except SourcesBusy as error:
                card.note = f"{card.note} · {error}"
            except Exception as error:
                log.warning("sources were not looked up: %s", explain_error(error))
                return

    async def end(self, session: Session) -> None:
        session.work.stop()

    def busy(self, running: bool) -> Update:
        return {
            self.run: visible(not running),
            self.stop: visible(running),
        }


def visible(yes: bool) -> dict[str, Any]:
    """An update that shows a component or hides it, which stays in the page."""
    return gr.update(visible=True if yes else "hidden")


def with_status(handler: Callable[..., Update]) -> Callable[..., Awaitable[Update]]:
    """A handler that runs in the tab's `threads` (an anyio limiter), and whose refusals,
    AssistantErrors, become the tab's status line."""

    @wraps(handler)
    async def handle(self: Any, *values: Any) -> Update:
        try:
            return await to_thread.run_sync(handler, self, *values, limiter=self.threads)
        except AssistantError as error:
            return {self.status: status_line(str(error))}

    return handle


def read_action(action: Untrusted) -> tuple[str, list[int]]:
    """(act, numbers) of a button that the page's script sent; ("", []) for anything else."""
    try:
        value: Untrusted = read_json(action)
        act, *numbers = value
    except (ValueError, TypeError):
        return "", []
    known = isinstance(act, str) and all(type(number) is int for number in numbers)
    return (act, numbers) if known and min(numbers, default=0) >= 0 else ("", [])
