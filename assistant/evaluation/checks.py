"""What can be told of a reply without knowing the question: its end, its roles, its code.

Knows text and a finish reason. Fences are read as the page reads them, by CommonMark.
"""

import ast
import doctest
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from markdown_it import MarkdownIt

from assistant.prompting.escape import SPECIAL

PYTHON = ("python", "py", "python3", "pycon")
_ROLE = re.compile(r"[ \t>*_#]*(?:human|user|assistant|system|ai|bot)[*_]*:", re.IGNORECASE)
_COMMONMARK = MarkdownIt("commonmark")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code. language: the first word behind the fence, in lower case."""

    language: str
    code: str
    closed: bool
    lines: tuple[int, int]  # the first, and the first behind it


@dataclass(frozen=True, slots=True)
class Checks:
    """stopped: the reply ended by itself, at a turn marker, a separator, a stop string or the end
    of the text, not by length. python_parses: None where there is no Python in it."""

    stopped: bool
    no_role_text: bool
    fences_closed: bool
    python_parses: bool | None


def check(text: str, reason: str) -> Checks:
    """The Checks of a reply. reason: its finish reason."""
    found = blocks(text)
    sources = python_sources(found)
    return Checks(
        stopped=reason == "stop",
        no_role_text=not _has_role_text(text, found),
        fences_closed=all(block.closed for block in found),
        python_parses=all(map(parses, sources)) if sources else None,
    )


def blocks(text: str) -> list[Block]:
    """The fenced blocks of `text`, those in lists and quotations too."""
    lines = text.split("\n")
    found = []
    for token in _COMMONMARK.parse(text):
        if token.type == "fence" and token.map:
            first, end = token.map
            last = lines[end - 1].strip(" \t>") if end - first > 1 else ""
            closed = last.startswith(token.markup) and not last.strip(token.markup[0])
            language = (token.info.split() or [""])[0].lower()
            found.append(Block(language, token.content, closed, (first, end)))
    return found


def python_sources(found: Iterable[Block]) -> list[str]:
    """The source of each Python block; of a session with prompts, what was typed in."""
    sources = []
    for block in found:
        if block.language in PYTHON:
            code = block.code
            if code.lstrip().startswith(">>>"):
                code = _session_input(code)
            sources.append(code)
    return sources


def parses(source: str) -> bool:
    """Whether `source` is Python by the grammar of the running interpreter."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an invalid escape sequence
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _session_input(session: str) -> str:
    try:
        return "".join(example.source for example in doctest.DocTestParser().get_examples(session))
    except ValueError:
        return session  # not a session after all; it will not parse


def _has_role_text(text: str, found: Iterable[Block]) -> bool:
    """A marker of some role at the start of a line outside of code, or a special token's name."""
    inside = {line for block in found for line in range(*block.lines)}
    return any(
        number not in inside and (_ROLE.match(line) or SPECIAL.search(line))
        for number, line in enumerate(text.split("\n"))
    )
