"""Replies as HTML.

A reply is Markdown without HTML and without images; its links go to http(s) alone. So no element,
request or dialog can come from a text. What a user said is shown to the letter, by the page's own
script. Knows nothing of events or of the engine.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from typing import Any, cast

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from assistant.text import clean
from assistant.web.pages.doors import one_line

# Only these are coloured, and only so many characters of one reply: some of Pygments' lexers take
# time with the square of the length (the worst here, csharp: 0.4 s), others without end.
_LANGUAGES = """
    asm awk bash c c# c++ clojure cmake console cpp cs csharp css dart diff docker dockerfile elixir
    erlang go golang graphql groovy haskell html http ini java javascript js json julia kotlin latex
    lua make makefile matlab nginx ocaml perl php powershell ps1 py pycon python python3 r rb rs
    ruby rust scala scss sh shell sql swift terraform tex toml ts typescript xml yaml yml zsh
"""
COLOURED = frozenset(_LANGUAGES.split())
COLOURED_MAX = 1_500
CELLS_MAX = 5_000  # of tables; a wide one of many short lines costs the square of its length
CACHED_MAX = 8_000  # characters of a reply that is kept as HTML, which may be ten times as long


def _code(text: str, language: str, coloured: bool) -> str:
    """A block of code: its language, a copy button, and the text."""
    body = escape(text)
    if coloured and language.lower() in COLOURED:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
        body = highlight(text, lexer, HtmlFormatter(nowrap=True)).removesuffix("\n")
    return (
        f'<div class="code"><div class="code-head"><span>{escape(language)}</span>'
        f'{_button("copy-code", "Copy")}</div><pre class="code-text">{body}</pre></div>'
    )


def _button(act: str, label: str, number: int = 0) -> str:
    # The page's sanitiser keeps classes, not data attributes: the number travels as a class.
    return f'<button type="button" class="act act-{act} number-{number}">{escape(label)}</button>'


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        return url.lower().startswith(("https://", "http://"))


def _markdown() -> MarkdownIt:
    markdown = _Parser("commonmark", {"html": False, "breaks": True})
    markdown.enable(["table", "strikethrough"]).disable("image")
    renderer = cast(RendererHTML, markdown.renderer)

    def fence(tokens: Sequence[Token], index: int, options: Any, env: dict[str, int]) -> str:
        token = tokens[index]
        language = token.info.split(maxsplit=1)[0] if token.info.strip() else ""
        coloured = 0 < len(token.content) <= env["colour"]
        if coloured:
            env["colour"] -= len(token.content)
        return _code(token.content.removesuffix("\n"), language[:20], coloured)

    def heading(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        tokens[index].tag = f"h{min(int(tokens[index].tag[1:]) + 2, 6)}"  # below the page's own
        return renderer.renderToken(tokens, index, options, env)

    rules = cast(dict[str, Any], renderer.rules)
    rules["fence"] = rules["code_block"] = fence
    rules["heading_open"] = rules["heading_close"] = heading
    return markdown


_MARKDOWN, _WITHOUT_TABLES = _markdown(), _markdown().disable("table")


def _reader(text: str) -> MarkdownIt:
    """The parser for `text`: where its tables could have too many cells, they stay text."""
    lines = text.split("\n")
    rules = (line for line in lines if "|" in line and "-" in line and not line.strip(" \t>|:-"))
    columns = max((line.count("|") + 1 for line in rules), default=0)
    return _MARKDOWN if columns * len(lines) <= CELLS_MAX else _WITHOUT_TABLES


def markdown(text: str, colour: int = COLOURED_MAX) -> str:
    """A reply's Markdown as HTML. colour: characters of code that may be coloured."""
    text = clean(text)
    return str(_reader(text).render(text, {"colour": colour}))


# What was rendered once is asked for again when the page is loaded anew.
_finished = lru_cache(maxsize=512)(markdown)


def replies(texts: Iterable[str]) -> list[str]:
    """Finished replies, each as an article on one line."""
    return [
        _article(_finished(text) if len(text) <= CACHED_MAX else markdown(text)) for text in texts
    ]


def live(text: str) -> str:
    """The reply that is being written: rendered at every tick, so its code is not coloured yet."""
    dots = '<p class="dots"><i></i><i></i><i></i></p>'
    return _article(markdown(text, colour=0) if text else dots)


def _article(html: str) -> str:
    return one_line(f'<article class="turn assistant"><div class="said">{html}</div></article>')


def welcome(examples: Iterable[str], intro: str) -> str:
    """What stands in an empty transcript. examples: questions, each a button. intro: a sentence."""
    buttons = "".join(_button("example", text, index) for index, text in enumerate(examples))
    return one_line(
        f'<div class="welcome"><h2>Ask about code</h2><p>{escape(intro)}</p>'
        f'<div class="examples">{buttons}</div></div>'
    )
