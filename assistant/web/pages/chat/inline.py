"""What stands in a line of Markdown: its text as HTML, with marks, maths and the boxes of tasks.

For the marks, each token says where in the content its text begins. markdown-it keeps no such
places, so a rule that matches nothing notes where each step of the parser is.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Literal

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from assistant.web.pages.chat.marks import Piece, Place, as_html
from assistant.web.pages.chat.maths import formula_at, mathml

MATHS_MAX = 20_000  # characters of a reply that are shown as maths: 0.4 s
_TASK = re.compile(r"\[([ xX])\](?= )")
_TASKS = {False: ("to do", "☐"), True: ("done", "☑")}
_TEXTS = ("text", "text_special")  # the second: an entity, or an escaped character
_LINK = {"target": "_blank", "rel": "noopener noreferrer nofollow"}


def prepare(markdown: MarkdownIt) -> None:
    """Makes a parser ready for inline()."""
    markdown.inline.ruler.before("text", "note", _note)
    markdown.inline.ruler.before("escape", "task", _task)
    markdown.inline.ruler.before("escape", "formula", _formula)
    # The rule joins texts and keeps the place of the last.
    markdown.disable("fragments_join")


def inline(
    markdown: MarkdownIt, content: str, env: dict[str, Any], place: Place, item: bool = False
) -> list[Token]:
    """The tokens of `content`. All its text is in tokens of the type `shown`, and is HTML.
    item: whether it begins one of a list, and may say first whether that is done."""
    state = _State(content, markdown, env, [])
    state.item = item
    markdown.inline.tokenize(state)
    _locate(state.tokens, content.replace("\n", " "))
    for rule in markdown.inline.ruler2.getRules(""):
        rule(state)
    return list(_shown(state.tokens, place))


class _State(StateInline):
    """Notes in each token where its source begins: where the parser's step did, or the text did
    that was gathered in the steps before."""

    step = 0
    gathered = 0
    item = False

    def pushPending(self) -> Token:
        token = super().pushPending()
        token.meta["at"] = self.gathered
        return token

    def push(self, ttype: str, tag: str, nesting: Literal[-1, 0, 1]) -> Token:
        token = super().push(ttype, tag, nesting)
        token.meta["at"] = self.step
        return token


def _note(state: StateInline, silent: bool) -> bool:
    if isinstance(state, _State) and not silent:
        state.step = state.pos
        if not state.pending:
            state.gathered = state.pos
    return False


def _task(state: StateInline, silent: bool) -> bool:
    found = None if silent or state.pos else _TASK.match(state.src)
    if found is None or not isinstance(state, _State) or not state.item:
        return False
    said, sign = _TASKS[found[1] != " "]
    token = state.push("drawn", "", 0)
    token.meta["html"] = f'<span class="task" role="img" aria-label="{said}">{sign}</span>'
    token.content = found[0]
    state.pos = found.end()
    return True


def _formula(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    found = formula_at(state.src, state.pos)
    if found is None or len(found[0]) > state.env["maths"]:
        return False
    whole, source, block = found
    if not silent:
        state.env["maths"] -= len(whole)
        html = mathml(source, block)
        token = state.push("text" if html is None else "drawn", "", 0)
        token.content, token.meta["html"] = whole, html
    state.pos += len(whole)
    return True


def _locate(tokens: list[Token], flat: str) -> None:
    """Makes `at` of each token where its text begins, None if that is not sure. flat: the content,
    its line ends as blanks, which they are in code."""
    end = 0
    for token in tokens:
        at = max(token.meta["at"], end)  # a step may give many tokens, such as the stars of **
        token.meta["at"] = None
        if token.type == "text_special":
            end = at + len(token.markup)
            token.meta["at"] = at if token.info == "entity" else end - len(token.content)
            continue
        at += len(token.markup) * (token.type == "code_inline")
        for first in (at, at + 1):  # a blank may stand before code, and < does before an address
            if flat.startswith(token.content, first):
                token.meta["at"], end = first, first + len(token.content)
                break


def _shown(tokens: list[Token], place: Place) -> Iterator[Token]:
    for is_text, group in groupby(tokens, lambda token: token.type in _TEXTS):
        if is_text:
            yield _html(as_html(piece for token in group for piece in _pieces(token, place)))
            continue
        for token in group:
            if token.type == "code_inline":
                yield _html(f'<code dir="ltr">{as_html(_pieces(token, place))}</code>')
            elif token.type == "drawn":
                yield _html(token.meta["html"])
            else:
                token.attrs |= _LINK if token.type == "link_open" else {}
                yield token


def _pieces(token: Token, place: Place) -> list[Piece]:
    at = token.meta["at"]
    if at is None:
        return [("", token.content)]
    if token.info == "entity":
        return place.whole(token.content, at, at + len(token.markup))
    return place.pieces(token.content, at)


def _html(html: str) -> Token:
    return Token("shown", "", 0, content=html)
