"""What attribution promises, over the shipped corpus: found, falsely found, how fast, how large.

python -m benchmarks.attribution

The new code is that of the installed transformers package, without the licence at the head of its
files, which does stand in the corpus.
"""

import importlib.util
import json
import lzma
import random
import re
import statistics
import tempfile
import time
from pathlib import Path

from assistant.attribution import CERTAIN, Index, find_matches, search
from assistant.attribution.index import build
from assistant.attribution.shipped import CORPUS, ShippedCorpus
from benchmarks.start import machine

COUNT = 500
REPLY = 2_000
GAPS = ("\n        ", " ", "\t", "\n\n", "\n  ")


def draw_from(draw, texts, low, high):
    """(path, its first line, a run of it of `low` to `high` characters, blanks counted once)."""
    while True:
        path = draw.choice(sorted(texts))
        text = texts[path]
        start, length = draw.randrange(len(text)), draw.randint(low, high)
        end = start + length
        while end < len(text) and len(" ".join(text[start:end].split())) < length:
            end += 1
        run = text[start:end].strip()
        if len(" ".join(run.split())) >= low:
            at = text.index(run, start)
            return path, text.count("\n", 0, at) + 1, run


def new_code():
    root = Path(importlib.util.find_spec("transformers").origin).parent
    texts = {str(path): path.read_text(encoding="utf-8") for path in root.rglob("model*.py")}
    texts = {path: text[max(text.find("import "), 0) :] for path, text in texts.items()}
    return {path: text for path, text in texts.items() if len(text) > 2 * REPLY}


def timed(call, *arguments):
    started = time.perf_counter()
    result = call(*arguments)
    return result, (time.perf_counter() - started) * 1000


def right(index, path, first, run, draw):
    """Whether the run is found in its file at its lines, and the milliseconds."""
    asked = re.sub(r"\s+", lambda _: draw.choice(GAPS), run)
    matches, took = timed(find_matches, index, asked)
    place = (path, first, first + run.count("\n"))
    found = any(
        place in ((match.path, match.start_line, match.end_line), *match.also)
        and "".join(match.text.split()) == "".join(run.split())
        for match in matches
    )
    return found, took


def main():
    with lzma.open(CORPUS, "rt", encoding="utf-8") as file:
        texts = {record["path"]: record["text"] for record in map(json.loads, file)}
    new, draw = new_code(), random.Random(11)
    print(f"{machine()}\n\n| | result |\n|---|---:|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.db"
        _, took = timed(build, ShippedCorpus(CORPUS), path)
        index = Index(path)
        print(f"| the shipped corpus is indexed | {took / 1000:.1f} s |")
        print(f"| index, times the text | {path.stat().st_size / index.characters:.2f} |")
        copies = [right(index, *draw_from(draw, texts, 100, 400), draw) for _ in range(COUNT)]
        print(
            f"| {COUNT} copies, re-wrapped: right file and lines | {sum(ok for ok, _ in copies)} |"
        )
        called = [find_matches(index, draw_from(draw, new, 100, 400)[2]) for _ in range(COUNT)]
        called = [found for found in called if any(one.length >= CERTAIN for one in found)]
        print(f"| {COUNT} pieces of new code: called a match | {len(called)} |")
        for found in called:
            print(f"|  {found[0].path}:{found[0].start_line} {found[0].text[:60]!r} | |")
        for name, share in (("new code", 0), ("half of it copied", 0.5), ("all copied", 1)):
            times = []
            for _ in range(COUNT):
                reply = ""
                while len(reply) < REPLY:
                    source = texts if draw.random() < share else new
                    reply += draw_from(draw, source, 50, 400)[2] + "\n"
                times.append(timed(find_matches, index, reply[:REPLY])[1])
            middle, slow = statistics.median(times), sorted(times)[int(0.99 * COUNT)]
            print(f"| a reply of {REPLY:,} characters, {name}: median, p99 | "
                  f"{middle:.1f}, {slow:.1f} ms |")  # fmt: skip
        phrases = [f'"{" ".join(draw_from(draw, texts, 60, 90)[2].split())}"' for _ in range(COUNT)]
        times = [timed(search, index, phrase.replace("\\", " "))[1] for phrase in phrases]
        print(f"| search for a phrase: median | {statistics.median(times):.1f} ms |")


if __name__ == "__main__":
    main()
