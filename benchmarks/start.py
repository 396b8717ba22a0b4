"""How long until the first token: of a fresh `python app.py`, and of a chat's second message.

    python -m benchmarks.start [--repeat 5] [-- FLAGS OF app.py]

Each repetition starts the program in a process of its own on a free port, and speaks to it through
its API. Reports medians, the program's own parts of its start, and the machine.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx

from benchmarks.apart import ROOT, environment

READY = re.compile(r"(\S+) is at (\S+) \((.*)\)")
QUESTIONS = ("What is a list?", "And a dictionary?")
REPLY = 60  # tokens at most: only the first one is timed
IN_ALL = "in all, to the first token"
# Instruction sets that the engine's speed depends on, the widest first
FLAGS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx2",
         "i8mm", "bf16", "asimddp")  # fmt: skip


class Chat:
    """A conversation over HTTP."""

    def __init__(self, url: str):
        self.http = httpx.Client(base_url=url, timeout=600)
        self.turns = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def ask(self, question: str, **options) -> tuple[list[float], int]:
        """Reads the reply to its end: seconds until each part of it came, and its tokens. options:
        further keys of the request."""
        self.turns.append({"role": "user", "content": question})
        body = {"messages": self.turns, "stream": True, "stream_options": {"include_usage": True}}
        body |= options
        started, times, text, tokens = time.perf_counter(), [], "", 0
        with self.http.stream("POST", "/v1/chat/completions", json=body) as response:
            if response.status_code != 200:
                raise SystemExit(f"The program refused a message: {response.read().decode()}")
            for line in filter(None, response.iter_lines()):
                if line == "data: [DONE]":
                    break
                event = json.loads(line.removeprefix("data: "))
                tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
                for choice in event["choices"]:
                    part = choice["delta"].get("content") or ""
                    if part or choice["finish_reason"]:
                        times.append(time.perf_counter() - started)
                        text += part
        self.turns.append({"role": "assistant", "content": text})
        return times, tokens


class Program(NamedTuple):
    """A running app.py. up: seconds from its start until it said so. parts: the seconds of each
    part of that, as it tells them."""

    model: str
    url: str
    up: float
    parts: dict[str, float]


@contextlib.contextmanager
def program(flags, folder: Path = ROOT):
    """The app.py of the checkout in `folder`, in a process of its own."""
    started = time.perf_counter()
    command = [sys.executable, "app.py", "--port", "0", *map(str, flags)]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            ready = next(filter(None, map(READY.search, process.stdout)), None)
            if ready is None:
                raise SystemExit("The program did not start.")
            up = time.perf_counter() - started
            model, url, told = ready.groups()
            parts = dict(part.rsplit(" ", 1) for part in told.replace(" s", "").split(", "))
            yield Program(model, url, up, {name: float(took) for name, took in parts.items()})
        finally:
            process.terminate()


def measure(flags, folder: Path = ROOT) -> tuple[str, dict[str, float]]:
    """One start: the model, and seconds for each part, then for the first and second message."""
    with program(flags, folder) as running, Chat(running.url) as chat:
        times = dict(running.parts)
        first = chat.ask(QUESTIONS[0], max_tokens=REPLY)[0][0]
        times["process and the rest"] = running.up - sum(times.values())
        times["first message, to its first token"] = first
        times[IN_ALL] = running.up + first
        times["second message, to its first token"] = chat.ask(QUESTIONS[1], max_tokens=REPLY)[0][0]
        return running.model, times


def processor(path: Path = Path("/proc/cpuinfo")) -> tuple[str, list[str]]:
    """Its name, and which of FLAGS it has; none where the system does not tell."""
    text = path.read_text() if path.exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    flags = re.search(r"(?:flags|Features)\s*: (.*)", text)
    known = set(flags[1].split()) if flags else set()
    name = name[1] if name else platform.processor() or platform.machine()
    return name.replace("(R)", ""), [flag for flag in FLAGS if flag in known]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine() -> str:
    name, flags = processor()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    python = f"Python {platform.python_version()}"
    has = f" ({', '.join(flags)})" if flags else ""
    return f"{name}{has}, {cores()} cores, {platform.system()}, {python}, load {load:.1f}"


def short_machine() -> str:
    """The machine, for a row of a table."""
    name, flags = processor()
    kinds = {"amx_bf16": "AMX", "avx512f": "AVX-512"}
    return ", ".join([name, f"{cores()} cores", *(kinds[flag] for flag in flags if flag in kinds)])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("flags", nargs="*", help="flags of app.py, after --")
    arguments = parser.parse_args(argv)
    runs = [measure(arguments.flags) for _ in range(arguments.repeat)]
    model = runs[0][0]
    print(f"{model} on {machine()}; {len(runs)} starts\n")
    print("| | median s | slowest s |\n|---|---:|---:|")
    for part in runs[0][1]:
        values = [times[part] for _, times in runs]
        print(f"| {part} | {statistics.median(values):.2f} | {max(values):.2f} |")


if __name__ == "__main__":
    main()
