"""A person's message as HTML: to the letter, its fences as code."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.web.pages.chat import typed
from assistant.web.pages.chat.typed import render_typed
from tests.web.test_markdown import HEAD, HOSTILE, HOSTILE_PIECES, Elements, is_inert


class Pieces(Elements):
    """What is shown in a row: ("typed", text) and ("code", text)."""

    def __init__(self, html):
        self.pieces, self.kind = [], None
        super().__init__(html)

    def handle_starttag(self, tag, attributes):
        super().handle_starttag(tag, attributes)
        kinds = {"typed": "typed", "code-text": "code"}
        if kind := kinds.get(dict(attributes).get("class")):
            self.kind = kind
            self.pieces.append((kind, ""))

    def handle_endtag(self, tag):
        super().handle_endtag(tag)
        self.kind = None if tag in ("div", "pre") else self.kind

    def handle_data(self, data):
        super().handle_data(data)
        if self.kind:
            kind, text = self.pieces.pop()
            self.pieces.append((kind, text + data))


def pieces(text):
    shown = Pieces(render_typed(text)).pieces
    # The parser here, unlike a browser, keeps the line end that is written first into a pre.
    return [
        (kind, text[1:] if kind == "code" and text.startswith("\n") else text)
        for kind, text in shown
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a *b*\n\n  - c  \n", [("typed", "a *b*\n\n  - c  \n")]),
        ("```py\nx\n```", [("code", "x")]),
        ("a\n```py\nx = 1\n```\n\nb", [("typed", "a\n"), ("code", "x = 1"), ("typed", "\nb")]),
        ("~~~\n```\n~~~~ \nb", [("code", "```"), ("typed", "b")]),
        ("````\n```\nx\n```\n````\n", [("code", "```\nx\n```")]),
        ("  ```\n    x\n y\nz\n   ```\nb", [("code", "  x\ny\nz"), ("typed", "b")]),
        ("a\n```\nx\n\n", [("typed", "a\n"), ("code", "x\n")]),  # open to the end
        ("```", [("code", "")]),
        ("```\n```", [("code", "")]),
        ("    ```\nx", [("typed", "    ```\nx")]),
        ("``` a`b\nx", [("typed", "``` a`b\nx")]),
        ("a ```\nx", [("typed", "a ```\nx")]),
        ("```\n~~~\n```py\nx", [("code", "~~~\n```py\nx")]),
        ("a\r\n```\r\nx\r\n```\r\n", [("typed", "a\n"), ("code", "x")]),
    ],
)
def test_what_is_code(text, expected):
    assert pieces(text) == expected


LINES = ["```", "````", "```py", "~~~", " ~~~", "   ```", "    ```", "", " ", "x", "  y  ", "\tz"]


@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_all_of_it_is_there_less_the_fences(lines):
    """Line by line, as one reads it."""
    expected, fence = [], None
    for line in lines:
        found = re.match(r" {0,3}(`{3,}|~{3,})(.*)", line)
        if fence is None and found:
            fence = found[1]
        elif fence and found and found[1].startswith(fence) and not found[2].strip():
            fence = None
        else:
            expected.append(line)
    text = "\n".join(lines)
    shown = "\n".join(each.removesuffix("\n") for _, each in pieces(text))
    assert shown.split() == "\n".join(expected).split()
    assert all(each in text for kind, each in pieces(text) if kind == "typed")
    typed_ = [each for kind, each in pieces(text) if kind == "typed"]
    if not any("```" in line or "~~~" in line for line in lines):
        assert typed_ == ([text] if text else [])


def test_a_file_is_named_with_its_lines():
    html = render_typed("Look:\n```python app.py\nx = 1\ny = 2\n```\n```\nz\n```")
    assert "app.py · 2 lines" in html and html.count('class="code file"') == 1
    assert '<span class="n">' in html  # coloured
    assert "a.py · 1 line<" in render_typed("```python a.py\nx")


@pytest.mark.parametrize("payload", HOSTILE)
@pytest.mark.parametrize("frame", ["{}", "```py {}\n{}\n```\n{}", "```\n{}"])
def test_hostile_text_is_inert(payload, frame):
    is_inert(render_typed(frame.replace("{}", payload)))


@given(st.lists(HOSTILE_PIECES, max_size=12).map("".join))
def test_any_text_is_inert(text):
    is_inert(render_typed(text))


def test_so_many_blocks_and_then_text(monkeypatch):
    monkeypatch.setattr(typed, "BLOCKS_MAX", 2)
    assert [kind for kind, _ in pieces("```\na\n```\n" * 4)] == ["code", "code", "typed"]


@pytest.mark.parametrize("text", ["`" * 200_000, "```\n" * 50_000, "```\n`\n" * 30_000, "~~~a\n"])
def test_long_text_ends(text):
    is_inert(render_typed(text))


def test_the_head_of_a_fence_is_read_in_one_pass():
    assert "data-name" not in render_typed(HEAD)
