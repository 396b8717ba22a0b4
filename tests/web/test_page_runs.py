"""Replies for a page over HTTP: what is refused, several at once under numbers of their own,
stopping and leaving."""

import json
import threading
from contextlib import ExitStack

import pytest

from assistant.settings import Settings
from assistant.text import MESSAGE_CHARS_MAX
from assistant.web import event_stream
from assistant.web.pages.events import BUSY
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, Refused, running
from tests.support.waiting import until
from tests.web.gate.test_connections import connect

ONE, TWO = {"run": "number-1"}, {"run": "number-2"}


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine("Hello."), Settings(port=0)) as server:
        yield server


@pytest.fixture(autouse=True)
def healthy(server, script):
    """Every test ends with a reply, and nothing runs any more."""
    script("Hello.")
    yield
    script("Hello.")
    with Page(server.url) as page:
        assert page.chat("hi")[-1]["turn"]["text"] == "Hello."


@pytest.fixture
def page(server):
    with Page(server.url) as page:
        yield page


@pytest.fixture
def asked(server, monkeypatch):
    """Whoever asks the engine waits until `asked.go_on` is set. asked: is set once one does."""
    asked, generate = threading.Event(), server.engine.generate
    asked.go_on = threading.Event()

    def wait(request, wait_s):
        asked.set()
        asked.go_on.wait(60)
        return generate(request, wait_s=wait_s)

    monkeypatch.setattr(server.engine, "generate", wait, raising=False)
    yield asked
    asked.go_on.set()


def begun(news):
    """Read on until a reply's first words have come."""
    return next(value for value in news if value.get("text"))


# -- what is refused ---------------------------------------------------------------------------

LONG = [{"role": "user", "content": "a" * 30_000}, {"role": "assistant", "content": "ok"}]


@pytest.mark.parametrize(
    "body, status, sentence",
    [
        ({"text": "a" * 100_001}, 400, "The message may have at most 100,000 characters; it has"),
        ({"text": "\x00 \n"}, 400, "The message is empty."),
        ({"text": "a" * 9_000}, 400, "window holds 8192 tokens"),
        ({"text": "a", "turns": LONG, "settings": {"keep_all": True}}, 400, "window holds 8192"),
        ({"text": "a", "settings": {"template": "../x"}}, 400, "no prompt template '../x' here"),
        ({"text": "a", "settings": {"template": ["x"]}}, 400, "no prompt template ['x'] here"),
        ({"text": "a", "settings": {"temperature": "hot"}}, 400, "temperature must be a number"),
        ({"text": "a", "settings": {"temperature": float("nan")}}, 400, "temperature must be from"),
        ({"text": "a", "settings": {"seed": -1}}, 400, "seed must be from 0"),
        ({"text": "a", "settings": {"max_new_tokens": 0}}, 400, "max_new_tokens must be from 1"),
        ({}, 400, "The conversation has no message that waits for a reply."),
        ({"turns": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]}, 400,
         "The last reply is empty, so there is nothing to continue"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_one_sentence(server, page, body, status, sentence):
    answer = page.ask("chat", ONE | body)
    said = answer.json()["error"]["message"]
    assert (answer.status_code, sentence in said) == (status, True), answer.text
    assert "\n" not in said and len(said) < 300
    assert server.engine.requests == []


def test_a_full_or_dead_engine_is_told_at_once(server, page, monkeypatch):
    monkeypatch.setattr(server.engine, "slots", 0)
    monkeypatch.setattr(server.engine, "queue", 0)
    answer = page.ask("chat", ONE | {"text": "hi"})
    assert answer.status_code == 429 and "places are taken" in answer.json()["error"]["message"]
    assert int(answer.headers["retry-after"]) >= 1
    monkeypatch.setattr(server.engine, "dead", "The engine has stopped.")
    answer = page.ask("chat", ONE | {"text": "hi"})
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "The engine has stopped."


def test_the_longest_message_is_counted_in_characters():
    with running(FakeEngine("ok", window=500_000)) as server, Page(server.url) as page:
        text = "🙂" * MESSAGE_CHARS_MAX
        assert page.chat(text)[0]["message"] == text
        assert "🙂\n\nAssistant:" in server.engine.prompt()
        with pytest.raises(Refused, match="100,000 characters; it has 100,001"):
            page.chat(text + "🙂")
        assert page.chat("and now?")[-1]["turn"]["text"] == "ok"


# -- the stream --------------------------------------------------------------------------------


def test_a_chat_over_http(server, page, script):
    script(["One. ", 0.05, "é🙂", 0.05, "\n\nTwo"])
    for text in ("hi", "\tand again"):
        news = page.chat(text)
        assert news[0] == {"message": text, "text": "", "ids": []}
        assert news[-1]["turn"]["text"] == "One. é🙂\n\nTwo"
        counted = page.ask("count", {"turns": page.turns, "settings": {}}).json()
        assert counted == news[-1]["ledger"] | {"unseen": 0} and counted["history"]
    turn = page.turns[-1]
    turn |= {"content": "One. é", "ids": turn["ids"][:7], "finish": "cancelled"}
    script(["!"])
    news = page.chat()
    assert news[0] == {"message": None, "text": "One. é", "ids": turn["ids"]}
    assert news[-1]["turn"]["text"] == "One. é!" and news[-1]["receipt"]["continued"] == 7
    assert server.engine.prompt().endswith("Human: \tand again\n\nAssistant:One. é")


def test_nobody_keeps_a_stream_or_holds_it_back(page):
    answer = page.ask("chat", ONE | {"text": "hi"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"


def test_a_stream_that_waits_says_so(page, script, monkeypatch):
    monkeypatch.setattr(event_stream, "QUIET_S", 0)
    go_on = threading.Event()
    script([go_on, "Hi"])
    content = json.dumps(ONE | {"text": "hi"})
    with page.http.stream("POST", "/page/chat", content=content, headers=page.own) as answer:
        lines = answer.iter_lines()
        assert any(line == ": waiting" for line in lines)
        go_on.set()
        assert '"turn"' in [line for line in lines if line][-1]


# -- numbers, stopping and leaving -------------------------------------------------------------


def test_two_replies_at_once_under_two_numbers(server, page, script):
    ends = [threading.Event(), threading.Event()]
    script(lambda request: ["Once ", ends[len(server.engine.requests) - 1], "more."])
    with ExitStack() as stack:
        one = stack.enter_context(page.news("chat", text="a", **ONE))
        begun(one)
        two = stack.enter_context(page.news("chat", text="b", **TWO))
        begun(two)
        for route in ("chat", "again"):
            answer = page.ask(route, {"text": "c", "receipt": {}, **ONE})
            assert answer.status_code == 400 and answer.json()["error"]["message"] == BUSY
        assert len(server.engine.requests) == 2
        assert page.ask("stop", TWO).json() == {"stopped": True}
        assert list(two)[-1]["turn"]["finish"] == "cancelled"
        ends[0].set()
        last = list(one)[-1]["turn"]
        assert (last["text"], last["finish"]) == ("Once more.", "stop")


def test_a_number_can_be_used_again(page):
    for text, told in (("hi", "Hello."), ("", "is empty"), ("hi", "Hello.")):
        until(lambda text=text, told=told: told in page.say(text, **ONE))


@pytest.mark.parametrize("run", ["number-9", "", "x" * 1000, "\ud800", "../stop"])
def test_who_is_not_there_cannot_be_stopped(page, run):
    assert page.ask("stop", {"run": run}).json() == {"stopped": False}
    page.chat("hi", **ONE)
    until(lambda: page.ask("stop", ONE).json() == {"stopped": False})


def test_stop_ends_the_reply_before_it_answers(server, page, script):
    script(["Once ", threading.Event()])
    with page.news("chat", text="hi", **ONE) as news:
        begun(news)
        assert page.ask("stop", ONE).json() == {"stopped": True}
        assert server.engine.active == []
        turn = list(news)[-1]["turn"]
        assert (turn["text"], turn["finish"]) == ("Once", "cancelled")


def test_what_is_stopped_before_it_has_begun_ends_empty(server, page, script, asked):
    script(["Once ", 60.0])
    told = []
    thread = threading.Thread(target=lambda: told.extend(page.chat("hi", **ONE)))
    thread.start()
    assert asked.wait(60)
    assert page.ask("stop", ONE).json() == {"stopped": True}
    assert page.ask("chat", ONE | {"text": "hi"}).json()["error"]["message"] == BUSY
    asked.go_on.set()
    thread.join()
    assert told[0]["message"] == "hi" and told[-1]["turn"]["finish"] == "cancelled"
    assert told[-1]["turn"]["text"] == "" and server.engine.active == []


def test_who_leaves_before_the_reply_has_begun_frees_the_slot(server, page, script, asked):
    script(["Once ", 60.0])
    body = json.dumps(ONE | {"text": "hi"})
    head = f"POST /page/chat HTTP/1.1\r\nHost: {server.url[7:]}\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in page.own.items())
    with connect(server.url, f"{head}\r\n{body}".encode()):
        assert asked.wait(60)
    asked.go_on.set()
    until(lambda: server.engine.cancelled and not server.engine.active)
    until(lambda: page.ask("stop", ONE).json() == {"stopped": False})
