"""The results of an evaluation as one Markdown table, as CSV, as JSON.

Knows Results, and gives them in the order in which it gets them; prints nothing.
"""

import csv
import dataclasses
import io
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from assistant.chat.assistant import Assistant
from assistant.evaluation.evaluate import Result
from assistant.evaluation.questions import Question

CHECKS = {
    "stopped": "ended by itself",
    "no_role_text": "no role text",
    "fences_closed": "fences closed",
    "python_parses": "Python parses",
}
LENGTH = "median length, tokens"
NONE = "–"
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of each prompt. values: shares from 0 to 1, for the length tokens; None where
    there is nothing to count. counts: of how many replies."""

    label: str
    values: tuple[float | None, ...]
    counts: tuple[int, ...]


def figures(results: Sequence[Result], prompts: Iterable[str]) -> list[Row]:
    """The rows of a table or a bar chart: right answers in each area and in all, the share of
    replies that pass each check, the median length. Of the replies that could be judged."""
    columns = [[r for r in results if r.prompt == name] for name in prompts]

    def row(
        label: str,
        of: Callable[[Result], float | None],
        reduce: Callable[[list[float]], float] = statistics.fmean,
    ) -> Row:
        values = [[v for v in map(of, column) if v is not None] for column in columns]
        reduced = tuple(reduce(each) if each else None for each in values)
        return Row(label, reduced, tuple(map(len, values)))

    rows = []
    for area in dict.fromkeys(result.question.area for result in results):
        rows.append(row(area, partial(_right_in, area)))
    rows.append(row("all areas", lambda r: r.right))
    for name, label in CHECKS.items():
        rows.append(row(label, partial(_passes, name)))
    rows.append(row(LENGTH, lambda r: r.tokens if r.checks else None, statistics.median))
    return rows


def _right_in(area: str, result: Result) -> bool | None:
    return result.right if result.question.area == area else None


def _passes(name: str, result: Result) -> bool | None:
    return getattr(result.checks, name, None)


def table(results: Sequence[Result], prompts: Iterable[str]) -> str:
    """Markdown, one column for each of `prompts`. Percentages are of the replies that could be
    judged, their number in brackets where it is the same for all prompts."""
    rows = [["right", *prompts]]
    for row in figures(results, prompts):
        if row.label == LENGTH:
            rows.append(
                [LENGTH, *(NONE if value is None else f"{value:g}" for value in row.values)]
            )
        elif len(set(row.counts)) == 1:
            rows.append([f"{row.label} ({row.counts[0]})", *map(percent, row.values)])
        else:
            cells = zip(row.values, row.counts, strict=True)
            rows.append([row.label, *(f"{percent(value)} of {count}" for value, count in cells)])
    return _markdown(rows)


def percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.0f} %"


def _markdown(table: Iterable[Sequence[str]]) -> str:
    rows = [[cell.replace("|", "\\|") for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for row in (rows[0], rule, *rows[1:]):
        first, *rest = row
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def in_order(
    results: Iterable[Result], questions: Iterable[Question], prompts: Iterable[str]
) -> list[Result]:
    """By question, then prompt, then seed: replies come in any order."""
    keys, names = [question.key for question in questions], list(prompts)
    return sorted(
        results,
        key=lambda r: (keys.index(r.question.key), names.index(r.prompt), r.seed),
    )


def flat(result: Result) -> dict[str, Any]:
    """A Result as a dict of plain values."""
    checks = result.checks
    return {
        "area": result.question.area,
        "question": result.question.key,
        "ask": result.question.ask,
        "prompt": result.prompt,
        "seed": result.seed,
        "right": result.right,
        "faults": list(result.faults),
        "reason": result.reason,
        "stop": result.stop,
        "tokens": result.tokens,
        **{name: getattr(checks, name, None) for name in CHECKS},
        "error": result.error,
        "text": result.text,
    }


def to_csv(results: Iterable[Result]) -> str:
    """A line for each Result. Yes and no are 1 and 0, what is not known is empty. Text that a
    spreadsheet would run as a formula gets an apostrophe before it; JSON holds it unchanged."""
    rows = [flat(result) for result in results]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["area"])
    writer.writeheader()
    for row in rows:
        row["faults"] = "; ".join(row["faults"])
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def to_json(
    results: Iterable[Result], assistants: Mapping[str, Assistant], seeds: int, run: bool
) -> str:
    """All that is needed to read the results later: model, prompts by hash, sampling, replies."""
    engine = next(iter(assistants.values())).engine
    document = {
        "model": engine.model,
        "revision": engine.revision,
        "adapter": engine.adapter,
        "seeds": seeds,
        "run_code": run,
        "prompts": {
            name: {
                "name": a.template.name,
                "hash": a.template.hash,
                "sampling": dataclasses.asdict(a.template.sampling),
                "max_new_tokens": a.max_new_tokens,
            }
            for name, a in assistants.items()
        },
        "results": [flat(result) for result in results],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
