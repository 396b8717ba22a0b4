"""What several contenders took in several companies, a value each repetition, and its tables."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import report
from benchmarks.start import short_machine
from benchmarks.timeline import interval, median

QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Measure:
    """name: with its unit. more: whether more is better. digits: behind the point."""

    name: str
    more: bool = False
    digits: int = 0

    def faster(self, value: float, than: float) -> float:
        return value / than if self.more else than / value


class Samples:
    """values: (measure, who, company) to a list with a value for each repetition, None where there
    was none."""

    def __init__(self):
        self.values = defaultdict(list)

    def add(self, measure: Measure, who: str, company: str, value: float | None) -> None:
        self.values[measure, who, company].append(value)

    def table(self, companies: Sequence[str]) -> str:
        """A row for each measure and contender: the median in each of `companies`, the first of
        which is QUIET, and behind the others the share of the quiet speed that is left."""
        head = ["measure", "machine", "who", companies[0]]
        head += [name for company in companies[1:] for name in (company, "of quiet")]
        rows, machine = [], short_machine()
        for measure, who in dict.fromkeys(key[:2] for key in self.values):
            medians = [median(self.values[measure, who, company]) for company in companies]
            row = [measure.name, machine, who]
            for n, value in enumerate(medians):
                row.append("" if value is None else f"{value:,.{measure.digits}f}")
                if n:
                    kept = measure.faster(value, medians[0]) if value and medians[0] else None
                    row.append(f"{kept:.0%}" if kept else "")
            rows.append(row)
        return report.markdown(head, rows)

    def versus(self, new: str, old: str) -> str:
        """How many times as fast `new` is as `old`: the median of the repetitions' ratios, and the
        interval that holds the true one with 95 %."""
        rows = []
        for measure, who, company in [key for key in self.values if key[1] == new]:
            values = (self.values[measure, each, company] for each in (who, old))
            pairs = [pair for pair in zip(*values, strict=True) if None not in pair]
            if pairs:
                ratios = [measure.faster(*pair) for pair in pairs]
                low, high = interval(ratios)
                cells = [f"{median(ratios):.2f}", f"{low:.2f} to {high:.2f}", str(len(ratios))]
                rows.append([measure.name, short_machine(), company, *cells])
        head = ["measure", "machine", "company", f"times as fast as {old}", "95 %", "pairs"]
        return report.markdown(head, rows)


def in_turn(contenders: Sequence, repetition: int) -> Sequence:
    """Contenders one way and then the other, so that none is always the first."""
    return contenders if repetition % 2 == 0 else contenders[::-1]
