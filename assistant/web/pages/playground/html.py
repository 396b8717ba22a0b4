"""What the playground shows, as HTML: tokens as chips, continuations as cards, the inspector.

Every text is untrusted and only ever escaped. A button says in its classes what it does and to
what, since the page's sanitiser keeps no data attributes; playground.js reads them. Knows no
events and no engine.
"""

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import exp
from typing import Any, Protocol

from assistant.completion.fill import Fill
from assistant.completion.inspector import Token
from assistant.completion.raw import Chip
from assistant.web.pages import doors
from assistant.web.pages.doors import one_line

SHOWN_MAX = 2_000  # tokens that are listed one by one
BANDS = (  # the least probability, its class, what the legend says
    (0.9, "p4", "90 % or more"),
    (0.5, "p3", "50 %"),
    (0.2, "p2", "20 %"),
    (0.05, "p1", "5 %"),
    (0.0, "p0", "less"),
)
UNKNOWN = "p5"  # no probability was computed


class Article(Protocol):
    """A reply as `cards` shows it. body: HTML of what was written; foot: HTML below it; over: it is
    finished."""

    @property
    def title(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def foot(self) -> str: ...
    @property
    def over(self) -> bool: ...


def button(act: str, label: str, *numbers: int, why_not: str | None = None) -> str:
    """A button that sends "act:number:number" to the server; grey where it cannot, and says why."""
    at = "".join(f" at-{number}" for number in numbers)
    off = f' disabled title="{escape(why_not)}"' if why_not else ""
    return f'<button type="button" class="play do-{act}{at}"{off}>{escape(label)}</button>'


def hidden(name: str, text: str) -> str:
    """Text for the page's script alone."""
    return f'<pre class="raw {name}">{escape(text)}</pre>'


def data(values: dict[str, Any]) -> str:
    """JSON for the page's script, as Dom.hear() reads it. What is sent twice is heard twice."""
    return doors.data({**values, "n": secrets.token_hex(6)})


def file(name: str, kind: str, text: str) -> str:
    """A file that the page's script saves: the server gives out no files. kind: its MIME type."""
    return data({"name": name, "type": kind, "text": text})


def chip(text: str) -> str:
    return f'<span class="special">{escape(text)}</span>'


def strip(chips: Sequence[Chip], spelt: int, *, ids: bool) -> str:
    """What the prompt is for the model, on one line: its size and its special tokens.

    chips: Raw.pieces(). spelt: how many special tokens the text spells. ids: list all tokens too.
    """
    special = Counter(each.text for each in chips if each.special)
    parts = ["1 token" if len(chips) == 1 else f"{len(chips):,} tokens"]
    if special:
        shown = " ".join(
            chip(text) + (f" × {count}" if count > 1 else "") for text, count in special.items()
        )
        parts.append(f"{special.total()} special: {shown}")
    if alike := spelt - special.total():
        verbs = ("looks", "stays") if alike == 1 else ("look", "stay")
        parts.append(f"{alike} that {verbs[0]} special and {verbs[1]} text")
    line = f'<p class="strip">{" · ".join(parts)}</p>'
    return one_line(line + (_pieces(chips) if ids else ""))


def _pieces(chips: Sequence[Chip]) -> str:
    """Each token with its id."""
    shown = "".join(
        f'<span class="piece{" special" if each.special else ""}">{_marks(each.text)}'
        f"<small>{each.id}</small></span>" + "\n" * each.text.count("\n")
        for each in chips[:SHOWN_MAX]
    )
    rest = len(chips) - SHOWN_MAX
    more = f'<p class="strip">and {rest:,} more</p>' if rest > 0 else ""
    return f'<div class="pieces">{shown}</div>{more}'


def _marks(text: str) -> str:
    marks = text.replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥")
    return escape(marks) or "…"


def visible(text: str) -> str:
    """Text of a token, escaped, with line ends and tabs to be seen. It has none while a character
    is unfinished."""
    return escape(text).replace("\n", "⏎\n").replace("\t", "⇥\t") or "…"


def cards(
    each: Iterable[Article],
    *,
    acts: Iterable[tuple[str, str]],
    cannot: Mapping[str, str | None] | None = None,
) -> str:
    """Replies beside each other. each: objects with a title, with html of what was written (body)
    and of what is said of it (foot), and whether all is written (over). acts: (act, label) of the
    buttons below a finished one. cannot: act to the sentence why it is not to be had."""
    shown = []
    for index, card in enumerate(each):
        buttons = [
            button(act, label, index, why_not=(cannot or {}).get(act))
            for act, label in (acts if card.over else ())
        ]
        dots = "" if card.over or card.body else '<p class="dots"><i></i><i></i><i></i></p>'
        shown.append(
            f'<article class="card"><h2>{escape(card.title)}</h2>{dots}'
            f'<pre class="written">{card.body}</pre>'
            f'<div class="foot">{card.foot}{"".join(buttons)}</div></article>'
        )
    return one_line(f'<div class="cards of-{len(shown)}">{"".join(shown)}</div>') if shown else ""


def band(logprob: float | None) -> str:
    """The class of a token's probability."""
    if logprob is None:
        return UNKNOWN
    return next(name for least, name, _ in BANDS if exp(logprob) >= least)


def inspector(title: str, tokens: Sequence[Token], index: int) -> str:
    """The tokens of a continuation, coloured by probability. index: its number."""
    shown = "".join(
        f'<span class="tok {band(token.logprob)}">{visible(token.text)}</span>' for token in tokens
    )
    legend = "".join(f'<span class="tok {name}">{label}</span> ' for _, name, label in BANDS)
    known = [token.logprob for token in tokens if token.logprob is not None]
    mean = f" · on average {exp(sum(known) / len(known)):.0%} likely" if known else ""
    values = [[token.logprob, token.text, token.top] for token in tokens]
    return one_line(
        f'<section class="inspector at-{index}"><div class="head"><h2>{escape(title)}</h2>'
        f"{button('close', 'Close')}</div>"
        f'<p class="legend">{len(tokens):,} tokens{mean} · {legend}</p>'
        f'<div class="inspect"><div class="toks">{shown}</div><div class="alts"></div></div>'
        f"{hidden('values', json.dumps(values))}</section>"
    )


def show_fills(fills: Sequence[Fill], context: int = 4) -> str:
    """A text with what was filled in, each line of it marked. fills: the last of them has
    the whole text. context: lines that stay on either side of what is new."""
    whole, at, parts = fills[-1].whole, 0, []
    for each in fills:
        parts += [(whole[at : each.start], False), (whole[each.start : each.end], True)]
        at = each.end
    lines, new = [""], [False]
    for text, added in [*parts, (whole[at:], False)]:
        for number, line in enumerate(text.split("\n")):
            if number:
                lines.append("")
                new.append(False)
            lines[-1] += f"<ins>{escape(line)}</ins>" if added and line else escape(line)
            new[-1] |= added
    near = [any(new[max(n - context, 0) : n + context + 1]) for n in range(len(new))]
    shown, gap = [], 0
    for line, added, kept in [*zip(lines, new, near, strict=True), ("", False, True)]:
        if kept and gap:
            shown.append(f'<span class="gap">{gap} line{"s" if gap > 1 else ""}</span>')
        gap = 0 if kept else gap + 1
        if kept:
            shown.append(f'<span class="line{" new" if added else ""}">{line}</span>')
    return "".join(shown[:-1])
