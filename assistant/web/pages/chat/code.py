"""A block of code as HTML: what language it is, a copy button, and the text, coloured.

Some of Pygments' lexers take a text without end, some take time with the square of a line's length
for one token. So only those of COLOURED are asked, for no longer than COLOUR_S and up to the first
line that is too long; what is left is shown plain.
"""

import re
import time
from collections.abc import Callable, Iterator
from html import escape
from itertools import groupby
from operator import itemgetter

from pygments.lexer import DelegatingLexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES

_LANGUAGES = """
    asm awk bash c c# c++ clojure cmake console cpp cs csharp css dart diff docker dockerfile elixir
    erlang go golang graphql groovy haskell html http ini java javascript js json julia kotlin latex
    lua make makefile matlab nginx ocaml perl php powershell ps1 py pycon python python3 r rb rs
    ruby rust scala scss sh shell sql swift terraform tex toml ts typescript xml yaml yml zsh
"""
COLOURED = frozenset(_LANGUAGES.split())
COLOUR_S = 0.05  # of one block
EAGER_MAX = 4_000  # characters for a lexer that reads all before it gives a token: 0.02 s
_SLOW = re.compile(r"^.{1000}|\s{200}", re.MULTILINE)  # a long line, or many empty ones
clock = time.monotonic

# Shows a stretch of the code, which begins at the second argument, as HTML.
Show = Callable[[str, int], str]


def code_block(text: str, language: str, show: Show, limit_s: float) -> str:
    """language: at most a word, from a text. limit_s: how long the colours may take."""
    coloured = language.lower() in COLOURED and limit_s > 0
    body = "".join(_coloured(text, language, show, limit_s)) if coloured else show(text, 0)
    first = "\n" * body.startswith("\n")  # a browser drops the first newline of a pre
    return (
        f'<div class="code" dir="ltr"><div class="code-head"><span>{escape(language)}</span>'
        '<button type="button" class="act act-copy-code">Copy</button></div>'
        f'<pre class="code-text">{first}{body}</pre></div>'
    )


def _coloured(text: str, language: str, show: Show, limit_s: float) -> Iterator[str]:
    at = 0  # what is shown is cut from the text itself, whatever a lexer makes of it
    for name, group in groupby(_tokens(text, language, limit_s), key=itemgetter(0)):
        end = at + sum(len(value) for _, value in group)
        html = show(text[at:end], at)
        yield f'<span class="{name}">{html}</span>' if name and html else html
        at = end
    yield show(text[at:], at)


def _tokens(text: str, language: str, limit_s: float) -> Iterator[tuple[str, str]]:
    """The text's tokens, each with its CSS class, as far as the time goes."""
    lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    fast = _SLOW.split(text, maxsplit=1)[0]
    if isinstance(lexer, DelegatingLexer):
        fast = fast[:EAGER_MAX]
    fast += "\n"  # without it, some do not know the last line for what it is
    end = clock() + limit_s
    for kind, value in lexer.get_tokens(fast):
        if clock() > end:
            return
        while kind not in STANDARD_TYPES:
            kind = kind.parent
        yield "" if value.isspace() else STANDARD_TYPES[kind], value
