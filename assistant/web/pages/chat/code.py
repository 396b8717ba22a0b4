"""A block of code as HTML: what it is, what can be done with it, and the text, coloured.

Some of Pygments' lexers take a text without end, some take time with the square of a line's length
for one token. So only those of COLOURED are asked, for no longer than COLOURS_S and up to the first
line that is too long; what is left is shown plain.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from html import escape
from itertools import accumulate, groupby
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
COLOURS_S = 0.5  # of a processor, for all code of a reply
GROWING_S = 10  # the same, for what is coloured again and again while it grows
EAGER_MAX = 4_000  # characters for a lexer that reads all before it gives a token: 0.02 s
STEP = 1_500  # characters that show in which state a lexer is
LIVELY_MAX = 4_000  # characters that are coloured anew with each letter; more, line by line
NAME_MAX = 100  # characters
_SLOW = re.compile(r"^.{1000}|\s{200}", re.MULTILINE)  # a long line, or many empty ones
_NAME = re.compile(r"""\s+(?:(?:file)?name=|title=)?["']?([^\s"'=<>{}][^"'=<>{}]*)["']?\s*""")
clock = time.thread_time  # what others do meanwhile does not count

# Shows a stretch of the code, which begins at the second argument, as HTML.
Show = Callable[[str, int], str]
# A CSS class, or nothing, and how many characters have it.
Token = tuple[str, int]
# (text, language) -> the tokens of its beginning, as far as it is coloured.
Colour = Callable[[str, str], Iterable[Token]]


def info(text: str) -> tuple[str, str]:
    """What stands behind a fence: the language, at most a word, and the name of a file, if any."""
    language = text.split(maxsplit=1)[0][:20] if text.strip() else ""
    rest = text.strip()[len(language) :]
    name = _NAME.fullmatch(rest) if len(rest) <= 2 * NAME_MAX else None
    return language, name[1].strip() if name and len(name[1]) <= NAME_MAX else ""


def code_block(
    text: str, language: str, name: str, show: Show, colour: Colour, said: bool = False
) -> str:
    """language, name: see info(). said: whether a person says it, not a reply; what has a name is
    a file then."""
    lines = text.count("\n") + 1
    body = "".join(_coloured(text, show, colour(text, language)))
    first = "\n" * body.startswith("\n")  # a browser drops the first newline of a pre
    title = f"{name} · {lines:,} {'line' if lines == 1 else 'lines'}" if said and name else name
    return (
        f'<div class="code{" file" * bool(said and name)}" dir="ltr"'
        f"{_attribute('data-language', language)}{_attribute('data-name', name)}>"
        f'<div class="code-head"><span>{escape(title or language)}</span>{_BUTTONS}</div>'
        f'<pre class="code-text">{first}{body}</pre></div>'
    )


_BUTTONS = "".join(
    f'<button type="button" class="act act-{kind}-code"{more}>{label}</button>'
    for kind, label, more in (
        ("wrap", "Wrap", ' aria-pressed="false"'),
        ("save", "Save", ""),
        ("copy", "Copy", ""),
    )
)


def _attribute(name: str, value: str) -> str:
    return f' {name}="{escape(value)}"' if value else ""


class Colours:
    """The colours of all code of one reply, and the time that is left for them."""

    def __init__(self) -> None:
        self._left, self._left_growing = COLOURS_S, float(GROWING_S)
        self._language = ""
        self._begin("")

    def whole(self, text: str, language: str) -> list[Token]:
        """The tokens of a block that is shown once."""
        began = clock()
        tokens = list(_tokens(text, language, self._left))
        self._left -= clock() - began
        return tokens

    def grown(self, text: str, language: str) -> list[Token]:
        """The same for one that will be shown again, longer. What is coloured stays so, and what
        there was no time for stays plain: else it would flicker."""
        if language != self._language or not text.startswith(self._text):
            self._begin(language)
        if len(text) > LIVELY_MAX:
            text = text[: text.rfind("\n") + 1]
        if text != self._text and not self._stopped:
            began = clock()
            self._go_on(text)
            self._left_growing -= clock() - began
        return self._firm + self._tail

    def _begin(self, language: str) -> None:
        """A block that grows: what of it is coloured, which of its tokens are read no more, where
        the others begin, those, and whether there was no time for all."""
        self._language, self._text = language, ""
        self._firm: list[Token] = []
        self._tail: list[Token] = []
        self._at, self._stopped = 0, False

    def _go_on(self, text: str) -> None:
        limit_s = min(self._left, self._left_growing)
        self._text = text
        self._tail = list(_tokens(text[self._at :], self._language, limit_s))
        self._stopped = self._at + sum(length for _, length in self._tail) < len(text)
        # All before a line is read no more once a lexer that begins with it finds the same.
        cut = text.rfind("\n", self._at, -STEP) + 1 if len(text) - self._at > 2 * STEP else 0
        places = accumulate((length for _, length in self._tail), initial=self._at)
        count = next((count for count, at in enumerate(places) if at == cut), 0)
        if count and list(_tokens(text[cut:], self._language, limit_s)) == self._tail[count:]:
            self._firm, self._tail = self._firm + self._tail[:count], self._tail[count:]
            self._at = cut


def _coloured(text: str, show: Show, tokens: Iterable[Token]) -> Iterator[str]:
    at = 0  # what is shown is cut from the text itself, whatever a lexer makes of it
    for name, group in groupby(tokens, key=itemgetter(0)):
        end = at + sum(length for _, length in group)
        html = show(text[at:end], at)
        yield f'<span class="{name}">{html}</span>' if name and html else html
        at = end
    yield show(text[at:], at)


def _tokens(text: str, language: str, limit_s: float) -> Iterator[Token]:
    """The text's tokens, as far as the time goes."""
    if language.lower() not in COLOURED or limit_s <= 0:
        return
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
        yield "" if value.isspace() else STANDARD_TYPES[kind], len(value)
