"""What a measurement leaves behind: tables, a section of RESULTS.md, a plot."""

import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.timeline import median

RESULTS = Path(__file__).with_name("RESULTS.md")


def markdown(head, rows, rule="---:"):
    """A Markdown table. head: its column names; rows: lists of cells of the same length. rule: what
    stands under the names of all columns but the first, "---" for texts."""
    lines = [head, ["---", *[rule] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True, slots=True)
class Line:
    """A promise and what was measured. held: None for what is only reported, or not measured."""

    promise: str
    measured: str
    held: bool | None = None


def promises(lines):
    """The table of Lines as Markdown."""
    held = {True: "yes", False: "**no**", None: ""}
    rows = [[line.promise, line.measured, held[line.held]] for line in lines]
    return markdown(["promise", "measured", "held"], rows)


def write_section(title, text, path=RESULTS):
    """Put `text` under the heading `title` of the file: in place of what was there, or behind all
    else."""
    section = f"## {title}\n\n{text.strip()}\n"
    old = path.read_text()
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", old, re.M | re.S)
    if found:
        rest = old[found.end() :]
        new = old[: found.start()] + section + ("\n" + rest if rest else "")
    else:
        new = f"{old.rstrip()}\n\n{section}"
    path.write_text(new)


def plot(table, contenders, path):
    """Tokens a second against the context for one request, and against the batch; log-log."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    def line(axes, points, name):
        points = [(x, rate) for x, rate in points if rate]
        if points:
            style = {"linewidth": 2.4, "zorder": 3} if name.startswith("ours") else {}
            axes.plot(*zip(*points, strict=True), "o-", markersize=4, label=name, **style)

    def rate(cell, name):
        times = table.get(cell, {}).get(name)
        return median(times.decode) if times else None

    contexts = sorted({context for batch, context in table if batch == 1})
    batches = sorted({batch for batch, context in table if context == contexts[0]})
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=False)
    for contender in contenders:
        name = contender.name
        line(left, [(c, rate((1, c), name)) for c in contexts], name)
        line(right, [(b, rate((b, contexts[0]), name)) for b in batches], name)
    left.set(title="One request", xlabel="context, tokens", ylabel="decode, tokens/s")
    right.set(title=f"Several, context {contexts[0]:,}", xlabel="requests at once")
    for axes, ticks in ((left, contexts), (right, batches)):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    names, labels = left.get_legend_handles_labels()
    figure.legend(names, labels, loc="lower center", ncols=6, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
