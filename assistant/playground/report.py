"""The results of an evaluation as one Markdown table, as CSV, as JSON.

Knows Results, and gives them in the order in which it gets them; prints nothing.
"""

import csv
import dataclasses
import io
import json
import statistics

CHECKS = {
    "stopped": "ended by itself",
    "no_role_text": "no role text",
    "fences_closed": "fences closed",
    "python_parses": "Python parses",
}
NONE = "–"


def table(results, prompts):
    """Markdown, one column for each of `prompts`. Percentages are of the replies that could be
    judged, their number in brackets where it is the same for all prompts."""
    columns = {name: [r for r in results if r.prompt == name] for name in prompts}
    areas = dict.fromkeys(result.question.area for result in results)

    def row(label, values):
        """values: for each prompt a list of True and False."""
        counts = {len(each) for each in values}
        if len(counts) == 1:
            return [f"{label} ({counts.pop()})", *map(percent, values)]
        return [label, *(f"{percent(each)} of {len(each)}" for each in values)]

    def right(area=None):
        return [
            [r.right for r in each if r.right is not None and area in (None, r.question.area)]
            for each in columns.values()
        ]

    rows = [["right", *prompts]]
    rows += [row(area, right(area)) for area in areas]
    rows.append(row("all areas", right()))
    for name, label in CHECKS.items():
        values = [[getattr(r.checks, name) for r in each if r.checks] for each in columns.values()]
        rows.append(row(label, [[v for v in each if v is not None] for each in values]))
    lengths = [[r.tokens for r in each if r.checks] for each in columns.values()]
    middle = (f"{statistics.median(each):g}" if each else NONE for each in lengths)
    rows.append(["median length, tokens", *middle])
    return _markdown(rows)


def percent(values):
    return f"{100 * sum(values) / len(values):.0f} %" if values else NONE


def _markdown(rows):
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for row in (rows[0], rule, *rows[1:]):
        first, *rest = row
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def in_order(results, questions, prompts):
    """By question, then prompt, then seed: replies come in any order."""
    questions, prompts = [q.key for q in questions], list(prompts)
    return sorted(
        results,
        key=lambda r: (questions.index(r.question.key), prompts.index(r.prompt), r.seed),
    )


def flat(result):
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


def to_csv(results):
    """A line for each Result. Yes and no are 1 and 0, what is not known is empty."""
    rows = [flat(result) for result in results]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["area"])
    writer.writeheader()
    for row in rows:
        row["faults"] = "; ".join(row["faults"])
        writer.writerow({k: int(v) if isinstance(v, bool) else v for k, v in row.items()})
    return text.getvalue()


def to_json(results, assistants, seeds, run):
    """All that is needed to read the results later: model, prompts by hash, sampling, replies."""
    engine = next(iter(assistants.values())).engine
    document = {
        "model": engine.model,
        "revision": engine.revision,
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
