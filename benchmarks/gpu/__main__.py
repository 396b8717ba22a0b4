"""The command: all parts in turn, what they find as it comes, a summary and an exit code.

0: all that was checked held. 1: something did not, or there is no card.
"""

import argparse
import datetime
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gpu.bounded import Bounded
from benchmarks.gpu.place import OVER, Part
from benchmarks.report import RESULTS, Line, markdown

LOOK = Part("look", "benchmarks.gpu.card:look", 60)
PARTS = (  # in the order of what they are worth
    Part("card", "benchmarks.gpu.card:card", 90),
    Part("kernels", "benchmarks.gpu.kernels:kernels", 75),
    Part("int4", "benchmarks.gpu.int4:int4", 45),
    Part("small", "benchmarks.gpu.texts:small", 60, environ={"CUDA_LAUNCH_BLOCKING": "1"}),
    Part("greedy", "benchmarks.gpu.texts:greedy", 60),
    Part("graphs", "benchmarks.gpu.steps:graphs", 60),
    Part("syncs", "benchmarks.gpu.steps:syncs", 30),
    Part("attention", "benchmarks.gpu.kernels:prefill", 30),
    Part("starcoder", "benchmarks.gpu.starcoder:starcoder", 90),
    Part("prompts", "benchmarks.gpu.starcoder:prompts", 45),
    Part("chats", "benchmarks.gpu.chats:chats", 150, least=40, checks=False),
    Part("peers", "benchmarks.gpu.chats:peers", 300, least=60, checks=False),
)
NO_ANSWER = f"The card was asked for its name and did not answer in {LOOK.seconds} seconds."
FINE = ("held", "measured", "left out")
HELD = {True: "yes", False: "**no**", None: ""}


class Results:
    """The file to which everything is appended at once, and what is printed."""

    def __init__(self, path: Path):
        self.path = path

    def begin(self, card: str, where: str) -> None:
        now = datetime.datetime.now()
        self._append(f"\n## {card}, {now:%Y-%m-%d %H:%M}, `make gpu`\n\n{where}\n")
        self._append(markdown(["part", "what", "measured", "held"], [], "---"))
        print(f"{card}: {where}", flush=True)

    def add(self, part: Part, line: Line) -> None:
        cells = part.name, line.promise, line.measured, HELD[line.held]
        self._append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        said = {True: "held", False: "FAILED", None: "      "}[line.held]
        print(f"{part.name:<9} {said:<6} {line.promise}: {line.measured}", flush=True)

    def end(self, rows: list[list[str]]) -> None:
        table = markdown(["part", "it", "seconds", "in a line"], rows, "---")
        self._append(f"\n{table}")
        print(f"\n{table}", flush=True)

    def _append(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def run(part: Bounded, seconds: float, results: Results) -> list[str]:
    """A row of the summary."""
    started, lines = time.monotonic(), []
    for line in part.lines(seconds):
        results.add(part.part, line)
        lines.append(line)
    failed = [line for line in lines if line.held is False]
    if part.timed_out or failed:
        print(part.output, flush=True)
    state = "held" if any(line.held for line in lines) else "measured"
    cut = [line for line in lines if OVER in line.measured]
    if cut and part.part.checks:
        state = "no time"
    state = "timed out" if part.timed_out else "failed" if failed else state
    told = failed or cut or lines[-1:]
    text = f"{told[0].promise}: {told[0].measured}" if told else ""
    return [part.part.name, state, f"{time.monotonic() - started:.0f}", text.replace("|", "/")]


def run_all(parts: list[Part], device: str, end: float, results: Results, folder: Path) -> int:
    """The exit code. end: when all is over, time.monotonic()."""
    looking = Bounded(LOOK, device, folder)
    waiting = [Bounded(part, device, folder) for part in parts[:1]]
    try:
        found = next(looking.lines(LOOK.seconds), Line("", NO_ANSWER, False))
        looking.close()
        if found.held is False:
            print(found.measured)
            return 1
        results.begin(found.promise, found.measured)
        rows = []
        for place, part in enumerate(parts):
            waiting += [Bounded(following, device, folder) for following in parts[place + 1 :][:1]]
            ready, left = waiting.pop(0), end - time.monotonic()
            if left < part.least:
                ready.close()
                state = "no time" if part.checks else "left out"
                rows.append([part.name, state, "0", f"{max(left, 0):.0f} seconds were left"])
            else:
                rows.append(run(ready, min(part.seconds, left), results))
        results.end(rows)
        return int(any(state not in FINE for _, state, *_ in rows))
    finally:
        for part in (looking, *waiting):
            part.close()


def main() -> int:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="make gpu", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--only", action="append", choices=names, help="this part; may be given again")
    add("--seconds", type=float, default=360, help="in all")
    add("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: small shapes, for the test")
    add("--results", type=Path, default=RESULTS, help="the file that the results are appended to")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.seconds
    parts = [part for part in PARTS if part.name in (arguments.only or names)]
    with tempfile.TemporaryDirectory(prefix="tech-assistant-gpu-") as folder:
        return run_all(parts, arguments.device, end, Results(arguments.results), Path(folder))


if __name__ == "__main__":
    sys.exit(main())
