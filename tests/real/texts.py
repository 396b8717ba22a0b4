"""Ordinary text and code for the real model to read: some 300 tokens each, written for this."""

ENGLISH = """\
The ferry left at seven, half an hour late, because the captain would not sail before the fog \
had lifted from the far side of the bay. Nobody complained. Most of the passengers knew one \
another, and those who did not were soon told which of the islands had water, which had only \
goats, and where one could still buy bread on a Sunday. An old man in a blue coat explained to \
two students how the tides work: the moon pulls at the sea, he said, but the shape of the coast \
decides how high the water comes. In a narrow bay it may rise by ten metres, while out in the \
open ocean nobody would notice it.

When we landed, the market was already open. There were baskets of plums and onions, cheese \
wrapped in leaves, and a table with nothing on it except for one very large fish. The price was \
written on a piece of slate. My sister asked whether it was fresh, and the woman behind the \
table laughed and said that it had been swimming this morning. We bought half of it, carried it \
up the hill to the house, and cooked it with lemon and a little salt. In the afternoon it began \
to rain. We closed the windows, lit the lamp, and read until it was dark.

A battery stores energy in chemical form. When it is connected to a circuit, a reaction inside \
it moves electrons from one side to the other, and this flow is the current that makes the lamp \
shine. A battery that can be charged again uses a reaction that also runs backwards.
"""

PYTHON = '''\
"""Reads measurements from a file and prints a summary of each station."""

import argparse
import csv
import sys
from collections import defaultdict
from dataclasses import dataclass


@dataclass
class Measurement:
    station: str
    hour: int
    temperature: float


def read_measurements(path):
    """Yield a Measurement for each line that has a temperature."""
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if not row["temperature"]:
                continue
            yield Measurement(row["station"], int(row["hour"]), float(row["temperature"]))


def summarize(measurements):
    """Return a dictionary from each station to its lowest, mean and highest temperature."""
    values = defaultdict(list)
    for measurement in measurements:
        values[measurement.station].append(measurement.temperature)
    return {
        station: (min(found), sum(found) / len(found), max(found))
        for station, found in values.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="a CSV file with the columns station, hour, temperature")
    parser.add_argument("--sort", choices=("name", "mean"), default="name")
    arguments = parser.parse_args()
    try:
        summary = summarize(read_measurements(arguments.path))
    except (OSError, ValueError, KeyError) as error:
        print(f"The file cannot be read: {error}", file=sys.stderr)
        return 1
    key = (lambda item: item[0]) if arguments.sort == "name" else (lambda item: item[1][1])
    for station, (low, mean, high) in sorted(summary.items(), key=key):
        print(f"{station:20} {low:6.1f} {mean:6.1f} {high:6.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
'''

TEXTS = {"English": ENGLISH, "Python": PYTHON}
