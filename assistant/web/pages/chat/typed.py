"""A person's message as HTML: to the letter, but for its fences, which are blocks of code.

A fence is one as Markdown has it; an open one goes to the end. Nothing else of Markdown is read
here, and the texts beside the fences keep each blank and each line end.
"""

import re
from collections.abc import Iterator
from html import escape

from assistant.text import clean
from assistant.web.pages.chat import code

BLOCKS_MAX = 1_000  # of a message; what follows is text

_OPENING = re.compile(r"^( {0,3})(?:(`{3,})([^`\n]*)|(~{3,})([^\n]*))(?:\n|\Z)", re.MULTILINE)


def render_typed(text: str) -> str:
    """The whole message as HTML."""
    colours, html = code.Colours(), []
    for piece, info in _pieces(clean(text)):
        if info is None:
            if piece:
                html.append(f'<div class="typed" dir="auto">{escape(piece)}</div>')
        else:
            language, name = code.info(info)
            html.append(code.code_block(piece, language, name, _show, colours.whole, said=True))
    return "".join(html)


def _show(text: str, at: int) -> str:
    return escape(text)


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """The texts and the code in a row; with code what stands behind its fence."""
    at = 0
    for _ in range(BLOCKS_MAX):
        opening = _OPENING.search(text, at)
        if opening is None:
            break
        yield text[at : opening.start()], None
        indent, ticks, after_ticks, tildes, after_tildes = opening.groups()
        mark = ticks or tildes
        closing = re.compile(rf"^ {{0,3}}{mark[0]}{{{len(mark)},}}[ \t]*(?:\n|\Z)", re.MULTILINE)
        closed = closing.search(text, opening.end())
        content = text[opening.end() : closed.start() if closed else len(text)]
        content = re.sub(rf"^ {{1,{len(indent)}}}", "", content, flags=re.M) if indent else content
        yield content.removesuffix("\n"), after_ticks or after_tildes or ""
        at = closed.end() if closed else len(text)
    yield text[at:], None
