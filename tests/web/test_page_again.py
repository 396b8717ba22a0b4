"""A reply that the page has run again: whether it is the same, where it parts, what is refused."""

import pytest

from assistant.web.pages.chat.stream import UNCOMPARED
from tests.support.fake_engine import FakeEngine
from tests.support.server import healthy_page, running

ONE = {"run": "number-1"}


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine("Hello.")) as server:
        yield server


@pytest.fixture
def page(server, script):
    with healthy_page(server, script) as page:
        yield page


def written(page, text="hi"):
    """A reply's receipt; the page has its turns."""
    return page.chat(text)[-1]["receipt"]


def again(page, receipt, **more):
    with page.news("again", turns=page.turns, receipt=receipt, **more) as news:
        return list(news)


def test_the_same_reply_again(server, page, script):
    script("The same.")
    page.chat("first")
    receipt = written(page)
    news = again(page, receipt)
    assert news[-1] == {"compared": {"at": None, "why": None}, "status": ""}
    assert news[0] == {"status": "Running again: 9 characters"}
    first, second = server.engine.requests[-2:]
    assert (first.ids, first.sampling) == (second.ids, second.sampling) and second.cold


def test_another_reply_and_where_it_parts(page, script):
    script("It is the same.")
    receipt = written(page)
    script("It is a change.")
    compared = again(page, receipt)[-1]["compared"]
    assert (compared["at"], compared["was"]["before"]) == (6, "It is ")
    assert (compared["was"]["token"], compared["now"]["token"]) == ("t", "a")


def test_what_computes_otherwise_says_why(server, page, monkeypatch):
    monkeypatch.setattr(server.engine, "numerics", "float32")
    receipt = written(page) | {"numerics": "bfloat16"}
    why = "It was computed in 'bfloat16' then, and in float32 now."
    assert again(page, receipt)[-1]["compared"]["why"] == why


def test_another_window_is_said_and_refuses_nothing(page):
    receipt = written(page)
    assert receipt["window"] == 8192
    why = "The window had 4,096 tokens then, and has 8,192 now."
    compared = again(page, receipt | {"window": 4096})[-1]["compared"]
    assert compared == {"at": None, "why": why}


def test_what_is_stopped_is_not_compared(server, page, script):
    receipt = written(page)
    script(["Hel", 60.0])
    with page.news("again", turns=page.turns, receipt=receipt, **ONE) as news:
        assert next(news) == {"status": "Running again: 3 characters"}
        assert page.ask("stop", ONE).json() == {"stopped": True}
        assert server.engine.active == []
        assert list(news)[-1] == {"status": UNCOMPARED}


def test_what_fails_again_says_so(page, script):
    receipt = written(page)
    script(["Hel", RuntimeError("secret")])
    assert "Something went wrong" in again(page, receipt)[-1]["error"]


@pytest.mark.parametrize(
    "changes, sentence",
    [
        (None, "A receipt must be an object, not None."),
        (["x"], "A receipt must be an object"),
        ({"model": "other"}, "by the model 'other'; here runs fake"),
        ({"revision": "abc"}, "the revision 'abc'"),
        ({"template_hash": "0" * 64}, "which is not on this server"),
        ({"max_new_tokens": "9"}, "no usable 'max_new_tokens'"),
        ({"dropped": [3]}, "Exchange 4 cannot leave the window"),
        ({"dropped": [1, 0]}, "no usable 'dropped'"),
        ({"sampling": {"temperature": 1.0}}, "has no seed"),
        ({"continued": 10**6}, "This reply was continued"),
        ({"max_new_tokens": 10**6}, "max_new_tokens must be from 1 to 8192"),
    ],
)
def test_receipts_that_are_refused(server, page, changes, sentence):
    receipt = written(page)
    receipt = receipt | changes if isinstance(changes, dict) else changes
    before = len(server.engine.requests)
    answer = page.ask("again", ONE | {"turns": page.turns, "receipt": receipt})
    assert answer.status_code == 400 and sentence in answer.json()["error"]["message"], answer.text
    assert len(server.engine.requests) == before
