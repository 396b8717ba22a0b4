"""What the playground shows, as HTML: replies as cards, what was filled in.

Every text is untrusted and only ever escaped. A button says in its classes what it does and to
what, since the page's sanitiser keeps no data attributes; playground.js reads them. Knows no
events and no engine.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Protocol

from assistant.completion.fill import Fill
from assistant.web.pages import doors
from assistant.web.pages.doors import one_line


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


def data(values: dict[str, Any]) -> str:
    """JSON for the page's script, as Dom.hear() reads it. What is sent twice is heard twice."""
    return doors.data({**values, "n": secrets.token_hex(6)})


def file(name: str, kind: str, text: str) -> str:
    """A file that the page's script saves: the server gives out no files. kind: its MIME type."""
    return data({"name": name, "type": kind, "text": text})


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
