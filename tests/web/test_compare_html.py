"""Replies beside each other: rendered, what differs marked, names that say what was varied."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.evaluation.checks import check
from assistant.evaluation.evaluate import Result
from assistant.evaluation.questions import unchecked_questions
from assistant.evaluation.workbench import Pair
from assistant.web.pages.playground.compare_html import grid, vote
from assistant.web.pages.playground.differences import WORDS_MAX, differences
from tests.web.test_markdown import HOSTILE

(QUESTION,) = unchecked_questions(["What is <b>?"])


def results(*given):
    """Results of (prompt, seed, text)."""
    return [
        Result(prompt, QUESTION, seed, text, "stop", checks=check(text, "stop"))
        for prompt, seed, text in given
    ]


def names(html):
    return re.findall("<h2>(.*?)</h2>", html)


def marked(html):
    return [unescape(re.sub("<.*?>", "", each)) for each in re.findall("<mark.*?</mark>", html)]


def feet(html):
    return re.findall(r'<div class="foot"><p>(.*?)</p>', html)


@pytest.mark.parametrize(
    "one, other, parts",
    [
        ("a b c", "a b c", []),
        ("a b c", "a x c", ["b"]),
        ("It returns a list.", "It returns a tuple, always.", ["list"]),
        ("a\n\nb", "a b", []),  # white space alone is no difference
        ("", "a", []),
        ("a b", "", ["a b"]),
        ("x = f(1)", "x = f(2)", ["1"]),
    ],
)
def test_what_another_text_does_not_have(one, other, parts):
    assert [one[part.start : part.end] for part in differences(one, other)] == parts


@given(st.text("ab .\n", max_size=40), st.text("ab .\n", max_size=40))
def test_without_its_differences_a_text_is_part_of_the_other(one, other):
    left, at = "", 0
    for part in differences(one, other):
        left += one[at : part.start] + " "
        at = part.end
    words = iter(re.findall(r"\w+|[^\w\s]", other))
    assert all(word in words for word in re.findall(r"\w+|[^\w\s]", left + one[at:]))


def test_long_texts_are_not_compared():
    assert differences("a " * (WORDS_MAX + 1), "b") == []
    assert differences("a " * WORDS_MAX, "b")


def test_replies_are_rendered_and_their_differences_marked():
    shown = grid(results(("One", 0, "It is **bold** text."), ("Two", 0, "It is `code` text.")))
    assert "<strong>" in shown and "<code" in shown
    assert names(shown) == ["One", "Two"]
    assert marked(shown) == ["bold", "code"]
    assert feet(shown) == ["marked: what Two does not have", "marked: what One does not have"]
    assert "\n" not in shown  # Gradio's Markdown leaves one line of HTML alone


def test_equal_replies_are_said_to_be():
    shown = grid(results(("One", 0, "Same."), ("Two", 0, "Same."), ("Three", 0, "Other.")))
    assert feet(shown)[1:2] == ["the same text as One"]
    assert marked(shown) == ["Other"]


def test_names_say_what_was_varied():
    assert names(grid(results(("One", 0, "a"), ("One", 1, "b")))) == ["seed 0", "seed 1"]
    assert names(grid(results(("One", 0, "a")))) == ["One"]
    both = [("One", 0, "a"), ("One", 1, "b"), ("Two", 0, "c"), ("Two", 1, "b")]
    shown = grid(results(*both))
    assert names(shown) == ["One, seed 0", "One, seed 1", "Two, seed 0", "Two, seed 1"]
    assert "the same text as One" in shown  # with the same seed
    seeds = grid(results(("One", 0, "a"), ("One", 1, "a")))
    assert "the same text as seed 0" in seeds


def test_no_text_becomes_an_element_of_its_own():
    text = "\n\n".join(HOSTILE)
    allowed = {"section", "details", "summary", "span", "div", "article", "h2", "p", "mark", "ul"}
    allowed |= {"li", "pre", "button", "a", "strong", "em", "code", "blockquote", "table", "br"}
    allowed |= {"thead", "tbody", "tr", "th", "td", "ol", "hr", "h1", "h3", "h4", "h5", "h6", "s"}
    first, second = results((text, 0, text), ("b", 0, f"{text} more"))
    for shown in (grid([first, second]), vote([Pair(first, second)], 0)):
        assert set(re.findall(r"<(\w+)", shown)) <= allowed
        assert "javascript:" not in re.findall('href="([^"]*)"', shown)


def test_what_failed_is_compared_with_nothing():
    good, bad = results(("One", 0, "a"), ("Two", 0, ""))
    bad = Result("Two", QUESTION, 0, error="It failed.")
    assert "marked" not in grid([good, bad]) and "It failed." in grid([good, bad])
