"""The playground's parts without a browser: streams side by side, HTML, what events refuse."""

import asyncio
import html
import json
import re
import threading
from contextlib import aclosing

import pytest

from assistant.completion.fill import Fill
from assistant.engine.protocol import Waiting
from assistant.errors import EngineError
from assistant.web.pages.events import BUSY
from assistant.web.pages.playground import tab_base
from assistant.web.pages.playground.controls import read_seed, read_stops
from assistant.web.pages.playground.fill_tab import FORGOTTEN, ORDER
from assistant.web.pages.playground.html import data, show_fills
from assistant.web.pages.playground.tab_base import read_action
from assistant.web.polling import side_by_side
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, call_all, running
from tests.web.test_markdown import HOSTILE

NAN = float("nan")


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tab_base, "SETTLE_S", 0)  # which is for a browser
        with running(FakeEngine("Yes.")) as server:
            yield server


# -- several streams at once -----------------------------------------------------------------


class Source:
    """A stream of `events`, where an exception is raised."""

    def __init__(self, *events):
        self.events, self.closed = list(events), False

    def __iter__(self):
        return self

    def __next__(self):
        if self.closed or not self.events:
            raise StopIteration
        event = self.events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event

    def close(self):
        self.closed = True


def news(*sources):
    async def read():
        return [step async for step in side_by_side(sources)]

    return asyncio.run(read())


def test_streams_are_read_side_by_side_to_their_ends():
    error = EngineError("broken")
    one, two = Source("a", Waiting(2), Waiting(2), "b"), Source("x", error, "never")
    seen = [event for step in news(one, two) for event in step]
    assert [event for index, event in seen if index == 0] == ["a", Waiting(2), "b"]
    assert [event for index, event in seen if index == 1] == ["x", error]
    assert one.closed and two.closed


def test_without_news_there_is_a_step_now_and_then():
    steps = news(Source(*[None] * 30, "a"))
    assert [] in steps and steps[-1] == [(0, "a")]


def test_leaving_closes_all():
    sources = [Source("a", *[None] * 99), Source(*[None] * 99)]

    async def leave():
        async with aclosing(side_by_side(sources)) as steps:
            async for _ in steps:
                return

    asyncio.run(leave())
    assert all(source.closed for source in sources)


# -- what the page sends ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent, meaning",
    [
        ('["append", 1]', ("append", [1])),
        ('["close"]', ("close", [])),
        ('["branch", 0, 2, 99]', ("branch", [0, 2, 99])),
        ("[]", ("", [])),
        ('["append", -1]', ("", [])),
        ('["append", true]', ("", [])),
        ('["append", 1.5]', ("", [])),
        ('[5, "a"]', ("", [])),
        ('{"a": 1}', ("a", [])),
        ("[" * 100_000, ("", [])),
        (None, ("", [])),
    ],
)
def test_what_a_button_sent(sent, meaning):
    assert read_action(sent) == meaning


@pytest.mark.parametrize(
    "typed, stops", [("a\n\nb", ["a", "b"]), ("\\n\\n", ["\n\n"]), ("\\tx ", ["\tx "]), (None, [])]
)
def test_stop_strings_are_lines(typed, stops):
    assert read_stops(typed) == stops


@pytest.mark.parametrize(
    "typed, seed", [("", None), (" 12 ", 12), (3, 3), ("x", "x"), ("-1", "-1")]
)
def test_a_seed(typed, seed):
    assert read_seed(typed) == seed


# -- HTML --------------------------------------------------------------------------------------


def tags(text):
    return set(re.findall(r"<(\w+)", text))


def test_no_text_becomes_an_element():
    text = "\n".join(HOSTILE)
    fills = (Fill(text, text, 0, len(text), "stop", 0),)
    assert tags(show_fills(fills)) <= {"span", "ins"}
    line = data({"text": text})
    assert "\n" not in line and "%%%LATEX" not in line


def test_data_comes_through_to_the_letter():
    value = {"text": "".join(HOSTILE) + "\ud800 \u2028"}
    sent = re.fullmatch('<pre class="data">(.*)</pre>', data(value))[1]
    heard = json.loads(html.unescape(sent))
    assert heard.pop("n") and heard == value


def lines(*fills):
    """The lines that are shown: "+" before what is new, [] around what was filled in."""
    shown = show_fills(fills)
    shown = re.sub("</?ins>", lambda m: "]" if "/" in m[0] else "[", shown)
    found = re.findall(r'<span class="(line new|line|gap)">(.*?)</span>', shown)
    return [{"line new": "+", "line": " ", "gap": "~"}[kind] + text for kind, text in found]


@pytest.mark.parametrize(
    "parts, shown",
    [
        (["a ", "b", " c"], ["+a [b] c"]),
        (["a\n", "b\nc", "\nd"], [" a", "+[b]", "+[c]", " d"]),
        (["", "b", ""], ["+[b]"]),
        (["a\n", "", "\nb"], [" a", "+", " b"]),
        (["1\n2\n3\n4\n5\n", "x", "\n6"], ["~1 line", " 2", " 3", " 4", " 5", "+[x]", " 6"]),
        (["x", "y", "\n" * 7], ["+x[y]", " ", " ", " ", " ", "~3 lines"]),
        (["a", "1", "b\n", "2", "c"], ["+a[1]b", "+[2]c"]),
    ],
)
def test_what_was_filled_in_is_marked_line_by_line(parts, shown):
    whole, fills, at = "".join(parts), [], 0
    for index, part in enumerate(parts):
        if index % 2:
            fills.append(Fill(part, whole, at, at + len(part), "stop", index // 2))
        at += len(part)
    assert lines(*fills) == shown


# -- events, as any program can call them ------------------------------------------------------

FILL = ["a <FILL_HERE> b <FILL_HERE>", "PSM", 9, 1, "", "", 0.2, 0.95, 0, 1, 0, None]


@pytest.mark.parametrize(
    "changed, sentence",
    [
        ({0: "no hole"}, "<FILL_HERE>"),
        ({0: None}, "prompt must be text"),
        ({1: "MPS"}, "order must be"),
        ({2: 5000}, "8192"),
        ({3: 9}, "number of candidates"),
        ({2: NAN}, "“New tokens, at most” must be"),
        ({4: "not a seed"}, "“Seed” must be"),
        ({4: "9" * 30}, "“Seed” must be"),
        ({5: "a\n" * 65}, "At most 64 stop strings"),
        ({6: "hot"}, "“Temperature” must be a number"),
        ({7: None}, "“Top p” must be"),
        ({8: 10**9}, "“Top k” must be"),
        ({9: 0}, "“Repetition penalty” must be"),
        ({10: 2}, "“Min p” must be"),
    ],
)
def test_what_cannot_be_filled_in_is_refused_in_a_sentence(server, changed, sentence):
    values = [changed.get(index, value) for index, value in enumerate(FILL)]
    with Page(server.url) as page:
        told = page.run(page.event("fill-in", "click"), values)
        assert sentence in html.unescape(told)


@pytest.mark.parametrize(
    "values, sentence",
    [
        (([], [], "hi", 1, 9), "number of prompt templates"),
        ((["Test"], [], "", 1, 9), "number of questions"),
        ((["Test"], [], "hi", 0, 9), "number of seeds"),
        ((["Test"], [], "hi", 1, "x"), "max_new_tokens must be"),
        ((["Test"], [], "hi\n" * 61, 1, 9), "number of questions must be from 1 to 60, not 61"),
        ((["Test"], [], "\x1b[\n" * 100_000, 1, 9), "number of questions must be from 1 to 60"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(server, values, sentence):
    with Page(server.url) as page:
        assert sentence in page.run(page.event("compare", "click"), [*values, None])


def test_events_called_with_junk_are_answered(server):
    junk = [None, "x", -1, NAN, [], {}, "[]", '["append", 0]', '["vote", 0]', '{"segments": 5}']
    junk += ['{"segments": [["a", true], 5]}', '{"segments": [[5, true]]}', "[" * 5_000]
    assert call_all(server, junk, playground=True) > 10
    with Page(server.url) as page:
        assert "Yes." in page.run(page.event("fill-in", "click"), FILL)


def test_what_the_server_has_forgotten_is_said_and_the_text_stays(server):
    """A page that was away for long: its buttons are there, what they meant is not."""
    with Page(server.url) as page:
        for button, values in {"fill-undo": ["mine"], "take-go": ['["take", 0]', "mine"]}.items():
            told = page.run(page.event(button, "click"), [*values, None])
            assert FORGOTTEN in told and "mine" not in told
        assert "Yes." in page.run(page.event("fill-in", "click"), FILL)


def test_one_thing_at_a_time(server):
    go_on = threading.Event()
    held = FakeEngine(["a", go_on, "b"])
    with running(held) as other, Page(other.url) as page:
        number = page.event("fill-in", "click")
        page.join(number, FILL)
        with page.stream() as messages:
            for message in messages:
                if "Reading" in json.dumps(message):
                    page.join(number, FILL)
                if BUSY in json.dumps(message):
                    break
        assert len(held.requests) == 1
        go_on.set()


@pytest.mark.parametrize(
    "special, orders, told",
    [
        (("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), ["PSM", "SPM"], ORDER),
        (("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"), ["PSM"], "the suffix first"),
        (("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"), ["SPM"], "the prefix first"),
        ((), ["PSM", "SPM"], ORDER),
    ],
)
def test_only_orders_that_the_model_was_trained_on_can_be_chosen(special, orders, told):
    engine = FakeEngine(special=("<|endoftext|>", *special))
    with running(engine) as server, Page(server.url) as page:
        props = [component["props"] for component in page.config["components"]]
    (order,) = [each for each in props if each.get("label") == "Order"]
    assert [name for _, name in order["choices"]] == orders and order["value"] == orders[0]
    assert told in order["info"] and order["interactive"] == (len(orders) == 2)
    by_name = {each.get("elem_id"): each for each in props}
    assert by_name["fill-in"]["interactive"] == bool(special)
    assert ("cannot fill in" in by_name["fill"]["info"]) == (not special)
