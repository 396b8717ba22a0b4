import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import TextError
from assistant.text import (
    MESSAGE_CHARS_MAX,
    PROMPT_CHARS_MAX,
    check_message,
    check_prompt,
    clean,
)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\x00b\x07c\x7fd\x85e\x0bf", "abcdef"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b1;31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bcreset", "reset"),
        ("\x1b]0;open, then more\ntext", "0;open, then more\ntext"),
        ("lone \ud83d, lone \ude00", "lone \ufffd, lone \ufffd"),
        ("😀 👩\u200d🚀 e\u0301 日本 \u202eרtl", "😀 👩\u200d🚀 e\u0301 日本 \u202eרtl"),
    ],
)
def test_clean(text, expected):
    assert clean(text) == expected


@given(st.text())
def test_cleaned_text_is_clean(text):
    once = clean(text)
    once.encode("utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", once)
    assert clean(once) == once


def test_message():
    assert check_message(" \n hello \r\n world\x00 \n") == "hello \n world"
    assert len(check_message("x" * MESSAGE_CHARS_MAX)) == MESSAGE_CHARS_MAX
    assert check_prompt("  def f(\r\n") == "  def f(\n"
    assert len(check_prompt("x" * PROMPT_CHARS_MAX)) == PROMPT_CHARS_MAX


@pytest.mark.parametrize("value", [None, 7, ["a"], {"text": "a"}, b"a", True])
def test_what_is_not_text_is_refused(value):
    with pytest.raises(TextError, match="must be text, not"):
        check_message(value)
    with pytest.raises(TextError, match="must be text, not"):
        check_prompt(value)


@pytest.mark.parametrize("value", ["", " \n\t ", "\x00\x1b[0m"])
def test_empty_is_refused(value):
    with pytest.raises(TextError, match="empty"):
        check_message(value)


def test_too_long_is_refused_with_limit_and_size_before_all_else(monkeypatch):
    monkeypatch.setattr("assistant.text.clean", lambda text: pytest.fail("was cleaned"))
    with pytest.raises(TextError, match="at most 32,000 characters; it has 32,001"):
        check_message("x" * (MESSAGE_CHARS_MAX + 1))
    with pytest.raises(TextError, match="at most 200,000 characters; it has 1,000,000"):
        check_prompt(" " * 1_000_000)
