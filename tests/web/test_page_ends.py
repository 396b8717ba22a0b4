"""How a reply ends for a page, without a server: the ledger behind it, failures, and leaving."""

import asyncio
from contextlib import aclosing
from types import SimpleNamespace

import pytest

from assistant.engine.protocol import Waiting
from assistant.errors import EngineError
from assistant.generation.generate import Delta
from assistant.generation.reply import NOTHING
from assistant.web.pages.chat import requests
from assistant.web.pages.chat.runs import Runs
from assistant.web.pages.chat.status import Waits
from assistant.web.pages.chat.stream import write
from assistant.web.pages.events import INTERNAL
from tests.support.fake_engine import FakeEngine
from tests.web.test_page_replies import ask, ids, make, read, said, steps, turn

# -- the ledger --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "turns, settings",
    [
        ([], {}),
        ([turn("One?", pinned=True), said("Two.")], {"max_new_tokens": 40}),
        ([turn("word " * 150), said("word " * 150)] * 12, {}),
        ([turn("word " * 150), said("word " * 150)] * 12, {"keep_all": True, "max_new_tokens": 9}),
    ],
    ids=["short", "pinned", "dropped", "keeps all"],
)
@pytest.mark.parametrize("text", ["hi", None])
def test_the_ledger_at_the_end_is_what_is_counted_then(turns, settings, text):
    if settings.get("keep_all"):
        turns = turns[:2]
    path = turns if text else [*turns, turn("hi")]
    engine, news = ask(steps("Yes", " or no."), path, settings, text)
    reply = news[-1]["turn"]
    now = [*turns, turn("hi"), said(reply["text"], ids=list(reply["ids"]))]
    _, assistants = make("")
    counted = requests.count(assistants, now, settings, "")
    assert news[-1]["ledger"] | {"unseen": 0} == counted
    assert bool(news[-1]["receipt"]["dropped"]) == (len(turns) == 24)


def test_where_no_empty_draft_fits_there_is_no_ledger():
    settings = {"keep_all": True, "max_new_tokens": 7_000}
    _, news = ask(["word " * 200], [], settings, "a" * 1_000)
    assert news[-1]["turn"]["text"] and news[-1]["ledger"] is None


# -- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, sentence",
    [(EngineError("No memory."), "No memory."), (RuntimeError("secret"), INTERNAL)],
)
def test_what_was_written_before_a_failure_is_told(error, sentence, caplog):
    engine, news = ask([*steps("Half a", " repl"), "y.", error])
    assert "".join(value.get("text", "") for value in news) == "Half a reply."
    assert news[-1] == {"error": sentence} and engine.active == []
    assert ("secret" in caplog.text) == (sentence == INTERNAL)


class Source:
    """A reply of these events."""

    before = NOTHING

    def __init__(self, *events):
        self._events, self.closed = iter(events), False

    def __next__(self):
        return next(self._events)

    def close(self):
        self.closed = True


def news_of(source, tokenizer=None):
    engine = FakeEngine()
    engine.tokenizer = tokenizer or engine.tokenizer
    request = SimpleNamespace(
        reply=source, message="hi", assistant=SimpleNamespace(engine=engine), conversation=None
    )
    return read(write(request, Waits()))


def test_a_reply_that_ends_without_its_end_ends():
    source = Source(Delta("Half", tuple((token, None) for token in ids("Half"))))
    *_, last = news_of(source)
    assert (last["text"], last["ids"]) == ("Half", ids("Half")) and source.closed


def test_where_the_engine_gives_no_tokens_there_are_none():
    *_, one, two = news_of(Source(Delta("Ha", bare=True), None, Delta("lf", bare=True)))
    assert [(one["text"], one["ids"]), (two["text"], two["ids"])] == [("Ha", None), ("lf", None)]


def test_who_waits_hears_the_place():
    news = news_of(Source(Waiting(2), None, Waiting(2), None, Waiting(1), None, Waiting(0)))
    assert [value["status"] for value in news[1:]] == [
        "Waiting: number 2 in line", "Waiting: number 1 in line", "Reading",
    ]  # fmt: skip


def test_a_reply_that_nobody_reads_is_closed_where_its_run_ends():
    engine, assistants = make([60.0])
    runs = Runs()
    asyncio.run(runs.begin("number-1", lambda: requests.message(assistants, [], {}, "hi")))
    assert len(engine.active) == 1
    runs.end("number-1")
    assert engine.active == [] and not runs.stop("number-1")


def test_there_are_signs_of_life_and_leaving_closes_the_reply():
    engine, assistants = make([60.0])
    request = requests.message(assistants, [], {}, "hi")

    async def leave():
        async with aclosing(write(request, Waits())) as news:
            assert await anext(news)
            while await anext(news) is not None:
                pass  # nothing new, and yet a step: here a closed page is noticed

    asyncio.run(asyncio.wait_for(leave(), 60))
    assert engine.cancelled == 1 and engine.active == []
