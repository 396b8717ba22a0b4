"""Replies as HTML, whole or while they are being written.

A reply is Markdown without HTML and without images; its links go to http(s) alone. All text is
escaped, so no element, request or dialog can come from it. Knows nothing of events or the engine.

Each top-level block is made into HTML by itself, with what is known at its end: a link that is
defined further down is none. So what was shown once of a reply that grows never changes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock, table
from markdown_it.token import Token

from assistant.text import clean
from assistant.web.pages.chat import code
from assistant.web.pages.chat.inline import MATHS_MAX, inline, prepare
from assistant.web.pages.chat.marks import Marks, Part, Place

__all__ = ["Growing", "Part", "render"]

CELLS_MAX = (
    5_000  # of a reply's tables; a wide one of many short lines has the square of its length
)
_DIRECTED = {"li", "blockquote", "th", "td"}

# What is known at a place in a reply. references: link definitions, as markdown-it keeps them.
# cells, maths: how many cells, and characters of maths, are left. colours: of all its code; grows:
# whether what is shown now will be shown again. marks: Marks or None.
Env = dict[str, Any]


def render(text: str, parts: Sequence[Part] = ()) -> str:
    """A finished reply as HTML. parts: what is marked, if `text` is clean."""
    cleaned = clean(text)
    marks = Marks(text, parts) if parts and cleaned == text else None
    return "".join(_html(cleaned, _start() | {"marks": marks}))


class Growing:
    """The HTML of a reply that is being written.

    Only lines that have ended are cleaned for good, and only they decide what is finished: no
    escape sequence goes over a line end, so they are cleaned alone as in the whole text. Parsing
    goes on from the first block that is not finished.
    """

    def __init__(self) -> None:
        self._env = _start()
        self._read = 0  # characters of the text whose lines have ended
        self._tail = ""  # those of them that are in no finished block, cleaned

    def update(self, text: str) -> tuple[list[str], str]:
        """text: all so far. The HTML of each block that is finished by now and was not before, and
        that of all after them."""
        self._read_to(text.rfind("\n", self._read) + 1, text)
        source = self._tail + clean(text[self._read :])
        cut = _cut(source, len(self._tail), _copy(self._env))
        self._tail = self._tail[cut:]
        finished = list(_html(source[:cut], self._env))
        return finished, "".join(_html(source[cut:], _copy(self._env)))

    def finish(self, text: str) -> list[str]:
        """text: all. The HTML of each block that update() has not called finished."""
        self._read_to(len(text), text)
        blocks = list(_html(self._tail, self._env))
        self._tail = ""
        return blocks

    def _read_to(self, end: int, text: str) -> None:
        if end > self._read:
            self._tail += clean(text[self._read : end])
            self._read = end


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        return url.lower().startswith(("https://", "http://"))


def _markdown() -> MarkdownIt:
    markdown = _Parser("commonmark", {"html": False, "breaks": True})
    markdown.enable(["table", "strikethrough"]).disable("image")
    markdown.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    prepare(markdown)
    rules = cast(dict[str, Any], cast(RendererHTML, markdown.renderer).rules)
    rules["fence"] = rules["code_block"] = _code
    rules["shown"] = lambda tokens, index, options, env: tokens[index].content
    return markdown


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A table of as many rows as the reply may have cells; the rows after them stay text."""
    columns = state.src.count("|", state.bMarks[start], state.eMarks[start]) + 1
    rows = state.env["cells"] // columns
    found = rows > 0 and table(state, start, min(end, start + 1 + rows), silent)
    if found and not silent:
        state.env["cells"] -= columns * (state.line - start - 1)
    return found


def _code(tokens: Sequence[Token], index: int, options: Any, env: Env) -> str:
    token = tokens[index]
    text = token.content.removesuffix("\n")
    first = (token.map or [0])[0] + (token.type == "fence")
    place = env["marks"].lines(text, first) if env["marks"] else Place()
    language, name = code.info(token.info)
    grown = env["colours"].grown if env["grows"] else env["colours"].whole
    return code.code_block(text, language, name, place.html, grown)


_MARKDOWN = _markdown()


def _start() -> Env:
    counts = {"cells": CELLS_MAX, "maths": MATHS_MAX}
    return counts | {"references": {}, "colours": code.Colours(), "grows": False, "marks": None}


def _copy(env: Env) -> Env:
    return env | {"references": dict(env["references"]), "grows": True}


def _html(source: str, env: Env) -> Iterator[str]:
    """The HTML of each top-level block. env: what is known before them; it learns on the way."""
    for _, _, tokens in _blocks(source, env):
        for index, token in enumerate(tokens):
            _direct(token)
            if token.type == "inline":
                marks = env["marks"]
                place = marks.inline(tokens[index - 1], token) if marks else Place()
                item = index > 1 and tokens[index - 2].type == "list_item_open"
                token.children = inline(_MARKDOWN, token.content, env, place, item)
        if html := _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, env):
            yield html


def _direct(token: Token) -> None:
    """A text says by its letters which way it is written. A heading is below the page's own."""
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(int(token.tag[1:]) + 2, 6)}"
    outer = token.level == 0 and token.type in ("heading_open", "paragraph_open")
    if outer or (token.nesting == 1 and token.tag in _DIRECTED):
        token.attrSet("dir", "auto")


def _blocks(source: str, env: Env) -> Iterator[tuple[StateBlock, int, list[Token]]]:
    """The top-level blocks: the state of the parser, the block's first line, and its tokens."""
    state = StateBlock(source if source.endswith("\n") else source + "\n", _MARKDOWN, env, [])
    rules = _MARKDOWN.block.ruler.getRules("")
    while (line := state.skipEmptyLines(state.line)) < state.lineMax:
        state.line, state.tokens = line, []
        next(rule for rule in rules if rule(state, line, state.lineMax, False))
        yield state, line, state.tokens


def _cut(source: str, ended: int, env: Env) -> int:
    """Where the last block begins before which nothing can change, whatever is added to `source`.

    ended: how many of its characters are lines that have ended. A rule looks at the line where a
    block ends, and for a table at the one behind it. A link definition alone may look further, but
    not over an empty line or a fence.
    """
    cut, after_fence = 0, False
    for state, line, tokens in _blocks(source, env):
        begin = state.bMarks[line]
        if state.eMarks[line + 1] >= ended:
            break
        if after_fence or state.isEmpty(line - 1) or source.find("[", cut, begin) < 0:
            cut = begin
        after_fence = bool(tokens) and tokens[-1].type == "fence"
    return cut


render("a")  # the parser sorts its rules when it is first used; later it is used by many threads
