"""The loss curve of a run as a picture: `python -m training.plot models/NAME`.

Reads log.jsonl beside the weights, writes loss.png there. Needs matplotlib, as nothing else does.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

TITLES = {
    "first": "beginnings of answers behind the short prompt",
    "prompt": "dialogues behind the short prompt",
    "dialogue": "dialogues alone",
    "code": "programs of the small world",
    "text": "documentation and source",
}


def smooth(values, window=15):
    """Running means over the last `window` values."""
    means = []
    for end in range(1, len(values) + 1):
        part = values[max(0, end - window) : end]
        means.append(sum(part) / len(part))
    return means


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    entries = list({entry["step"]: entry for entry in map(json.loads, lines)}.values())
    curves = defaultdict(list)
    for entry in entries:
        curves[entry["kind"]].append((entry["step"], entry["loss"]))
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=110)
    for kind, title in TITLES.items():
        steps = [step for step, _ in curves[kind]]
        losses = [loss for _, loss in curves[kind]]
        axes.plot(steps, smooth(losses), label=f"trained: {title}")
    told = [entry for entry in entries if entry.get("topic_loss")]  # some batches have no topics
    if told:
        steps, losses = zip(*((one["step"], one["topic_loss"]) for one in told), strict=True)
        axes.plot(steps, smooth(losses), ":", label="trained: which topic")
    held_out = [(entry["step"], entry["held_out"]) for entry in entries if "held_out" in entry]
    axes.plot(*zip(*held_out, strict=True), "k.--", label="held out: documentation and source")
    axes.set(xlabel="step", ylabel="loss, nats", title=folder.resolve().name, ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(folder / "loss.png")


if __name__ == "__main__":
    main()
