"""The prompt library over HTTP: what the page's scripts are told of it, and what is filled in."""

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running


@pytest.fixture(scope="module")
def page():
    with running(FakeEngine()) as server, Page(server.url) as page:
        yield page


def use(page, name, **values):
    return page.ask("library/use", {"name": name, "values": values})


def test_both_shelves_are_told_with_their_fields(page):
    told = page.ask("library", {}).json()
    names = {kind: [each["name"] for each in told[kind]] for kind in ("templates", "questions")}
    assert "function" in names["templates"] and "explain" in names["questions"]
    assert not set(names["templates"]) & set(names["questions"])  # one name says which is meant
    (explain,) = [each for each in told["questions"] if each["name"] == "explain"]
    sentences = explain["fields"][1]
    assert sentences["kind"] == "number" and (sentences["least"], sentences["most"]) == (1, 20)
    (write,) = [each for each in told["questions"] if each["name"] == "write"]
    assert "Rust" in write["fields"][0]["choices"] and write["fields"][0]["value"] == "Python"
    lacking = {each["name"]: each["cannot"] for each in told["templates"]}
    assert lacking["function"] is None and "<jupyter_start>" in lacking["notebook"]


def test_a_value_that_is_filled_in_stays_text(page):
    filled = use(page, "function", signature="add(<fim_prefix>)", docstring="Adds.").json()
    assert filled["text"] == 'def add(<fim_prefix>):\n    """Adds."""'
    assert filled["segments"] == [
        ["def ", True], ["add(<fim_prefix>)", False], [':\n    """', True],
        ["Adds.", False], ['"""', True],
    ]  # fmt: skip
    question = use(page, "write", language="Rust", task="adds <b>").json()
    assert question["text"] == "Write a Rust function that adds <b>."


@pytest.mark.parametrize(
    "name, values, sentence",
    [
        ("nope", {}, "no 'nope'"),
        ("write", {"language": "Elvish"}, "must be one of Python"),
        ("write", {"task": "x" * 501}, "may have at most 500 characters; it has 501"),
        ("write", {"task": ["x"]}, "must be text, not ['x']"),
        ("explain", {"sentences": "21", "code": "x"}, "must be from 1 to 20; 21 was given"),
        ("explain", {}, "Code is empty; fill it in first"),
    ],
)
def test_what_cannot_be_filled_in_is_one_sentence(page, name, values, sentence):
    answer = use(page, name, **values)
    assert answer.status_code == 400 and sentence in answer.json()["error"]["message"]
