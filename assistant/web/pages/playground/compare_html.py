"""The workbench's results as HTML: figures as bars, replies in a grid, pairs for a blind vote.

Every text is untrusted: a reply is rendered as in the chat, all else only ever escaped. Knows
Results and Rows, no events.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from itertools import groupby

from assistant.evaluation.evaluate import Result
from assistant.evaluation.report import CHECKS, LENGTH, NONE, Row, percent
from assistant.evaluation.workbench import Pair, Tally
from assistant.web.pages.chat.markdown import render
from assistant.web.pages.doors import one_line, status_line
from assistant.web.pages.playground.differences import differences
from assistant.web.pages.playground.html import button

OPEN_MAX = 3  # questions whose replies are unfolded
RENDERED_MAX = 1_000  # replies that are kept as HTML, since the grid is shown again as it grows
YES, NO = "✓", "✗"
SAME = "the same text as {}"
MARKED = "marked: what {} does not have"


@dataclass(frozen=True, slots=True)
class Cell:
    """A reply beside others. other: the text that it is compared with."""

    title: str
    text: str
    other: str | None = None
    foot: str = ""


def progress(done: int, planned: int) -> str:
    """How far a run is."""
    share = 100 * done / planned
    return one_line(
        f'<div class="progress"><p>{done} of {planned} replies</p>'
        f'<div class="bar"><i style="width:{share:.1f}%"></i></div></div>'
    )


def chart(rows: Iterable[Row], prompts: Collection[str]) -> str:
    """Bars for each figure and prompt."""
    parts = []
    for row in rows:
        known = [value for value in row.values if value is not None]
        if not known:
            continue
        most = max(known) if row.label == LENGTH else 1
        bars = "".join(
            f'<div class="of">{escape(name)}</div><div class="bar b{index}">'
            f'<i style="width:{100 * (value or 0) / (most or 1):.1f}%"></i></div>'
            f'<div class="value">{_value(row.label, value)}<small> of {count}</small></div>'
            for index, (name, value, count) in enumerate(
                zip(prompts, row.values, row.counts, strict=True)
            )
        )
        parts.append(f'<div><h3>{escape(row.label)}</h3><div class="bars">{bars}</div></div>')
    return one_line(f'<section class="chart"><h2>Summary</h2>{"".join(parts)}</section>')


def _value(label: str, value: float | None) -> str:
    if label == LENGTH and value is not None:
        return f"{value:g}"
    return NONE if value is None else percent(value)


def grid(results: Sequence[Result]) -> str:
    """The replies, those to one question beside each other. results: in order of the questions."""
    parts = []
    many = len({r.prompt for r in results}) > 1, len({r.seed for r in results}) > 1
    questions = groupby(results, key=lambda result: result.question)
    for number, (question, group) in enumerate(questions):
        found = list(group)
        marks = " ".join(map(_right, found))
        shown = _cards([_cell(result, _other(result, found), *many) for result in found])
        parts.append(
            f"<details{' open' if number < OPEN_MAX else ''}><summary>{escape(question.ask)} "
            f'<span class="marks">{marks}</span></summary>{shown}</details>'
        )
    return one_line(f'<section class="grid">{"".join(parts)}</section>')


def _other(result: Result, found: Sequence[Result]) -> Result | None:
    """The reply that one is compared with: the first prompt's with the same seed; of one prompt
    alone, its first. The first of two is compared with the second."""
    alike = [each for each in found if each.seed == result.seed]
    if len(alike) == 1:
        alike = [each for each in found if each.prompt == result.prompt]
    alike = [each for each in alike if each.error is None]
    if result.error or len(alike) < 2 or (result is alike[0] and len(alike) > 2):
        return None
    return alike[1] if result is alike[0] else alike[0]


def _cell(result: Result, other: Result | None, prompts: bool, seeds: bool) -> Cell:
    """prompts, seeds: whether there are several, so that the name says which this is."""
    title = _name(result, prompts, seeds)
    foot = _foot(result)
    if other is None:
        return Cell(title, result.text, None, foot)
    sentence = SAME if other.text == result.text else MARKED
    # Where both are on one seed, the other's prompt says which it is.
    name = _name(other, other.prompt != result.prompt, other.seed != result.seed)
    return Cell(title, result.text, other.text, status_line(sentence.format(name)) + foot)


def _name(result: Result, prompts: bool, seeds: bool) -> str:
    """What was varied: "Short, seed 1", "seed 1" where there is one prompt alone."""
    parts = [result.prompt] * prompts + [f"seed {result.seed}"] * seeds
    return ", ".join(parts) or result.prompt


def _cards(cells: Sequence[Cell], act: tuple[str, str] | None = None) -> str:
    """Replies beside each other. act: of a button below each, and its label."""
    shown = []
    for index, cell in enumerate(cells):
        below = cell.foot + (button(*act, index) if act else "")
        shown.append(
            f'<article class="card"><h2>{escape(cell.title)}</h2><div class="written turn">'
            f'<div class="said">{_rendered(cell.text, cell.other)}</div></div>'
            + (f'<div class="foot">{below}</div>' if below else "")
            + "</article>"
        )
    return f'<div class="cards of-{len(shown)}">{"".join(shown)}</div>'


@lru_cache(RENDERED_MAX)
def _rendered(text: str, other: str | None) -> str:
    """A reply as HTML, with marks over what the other does not have."""
    return render(text, differences(text, other) if other is not None else ())


def _foot(result: Result) -> str:
    """What is said of a reply; why it is wrong is folded, since it names patterns."""
    if result.error:
        return status_line(result.error)
    checks = [
        f"{YES if passed else NO} {label}"
        for name, label in CHECKS.items()
        if (passed := getattr(result.checks, name)) is not None
    ]
    right = [f"{YES} right"] if result.right else []
    line = status_line(" · ".join([*right, *checks, f"{result.tokens:,} tokens"]))
    why = "".join(f"<li>{escape(fault)}</li>" for fault in result.faults)
    wrong = f"<details><summary>{NO} wrong</summary><ul>{why}</ul></details>" if why else ""
    return wrong + line


def _right(result: Result) -> str:
    if result.right is None:
        return NONE
    return YES if result.right else NO


def vote(pairs: Sequence[Pair], place: int) -> str:
    """The pair that is voted on next."""
    pair = pairs[place]
    one, other = pair.first.text, pair.second.text
    shown = _cards(
        [Cell("One reply", one, other), Cell("The other", other, one)],
        act=("vote", "This one is better"),
    )
    return one_line(
        f'<section class="vote"><p>{place + 1} of {len(pairs)}: {escape(pair.first.question.ask)}'
        f"</p>{shown}{button('vote', 'No difference', 2)}"
        f"{button('reveal', 'End the vote')}</section>"
    )


def verdict(tally: Tally, left: str, right: str) -> str:
    """What the votes said."""
    wins = [f"{escape(name)}: {tally.wins.get(name, 0)}" for name in (left, right)]
    return one_line(
        f'<p class="verdict">Votes for {" · ".join(wins)} · no difference: {tally.ties}</p>'
    )
