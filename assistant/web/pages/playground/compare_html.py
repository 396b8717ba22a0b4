"""The workbench's results as HTML: figures as bars, replies in a grid, pairs for a blind vote.

Every text is untrusted and only ever escaped. Knows Results and Rows, no events.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from assistant.evaluation.evaluate import Result
from assistant.evaluation.report import CHECKS, LENGTH, NONE, Row, percent
from assistant.evaluation.workbench import Pair, Tally
from assistant.web.pages.doors import one_line, status_line
from assistant.web.pages.playground.html import button, cards

OPEN_MAX = 3  # questions whose replies are unfolded
YES, NO = "✓", "✗"


@dataclass(frozen=True, slots=True)
class Cell:
    """A reply in the grid."""

    title: str
    body: str
    foot: str = ""
    over: bool = True


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


def grid(results: Iterable[Result]) -> str:
    """The replies, those to one question beside each other. results: in order of the questions."""
    parts = []
    questions = groupby(results, key=lambda result: result.question)
    for number, (question, group) in enumerate(questions):
        found = list(group)
        marks = " ".join(map(_right, found))
        shown = cards([_cell(result) for result in found], acts=())
        parts.append(
            f"<details{' open' if number < OPEN_MAX else ''}><summary>{escape(question.ask)} "
            f'<span class="marks">{marks}</span></summary>{shown}</details>'
        )
    return one_line(f'<section class="grid">{"".join(parts)}</section>')


def _cell(result: Result) -> Cell:
    return Cell(f"{result.prompt}, seed {result.seed}", escape(result.text), _foot(result))


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
    shown = cards(
        [
            Cell("One reply", escape(pair.first.text), ""),
            Cell("The other", escape(pair.second.text), ""),
        ],
        acts=[("vote", "This one is better")],
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
