"""How long until the first token: of a fresh `python app.py`, and of a chat's second message.

    python -m benchmarks.start [--repeat 5] [-- FLAGS OF app.py]

Each repetition starts the program in a process of its own on a free port, and speaks to it over
HTTP. Reports medians, the program's own parts of its start, and the machine.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
READY = re.compile(r"(\S+) is at (\S+) \((.*)\)")
QUESTIONS = ("What is a list?", "And a dictionary?")


class Chat:
    """A chat over the API, whose messages come behind each other."""

    def __init__(self, url):
        self.http = httpx.Client(base_url=url, timeout=60)
        self.messages = []

    def ask(self, question):
        """Seconds until the first words of the reply are there."""
        self.messages.append({"role": "user", "content": question})
        body = {"messages": self.messages, "stream": True, "max_tokens": 60, "temperature": 0}
        started, first, text = time.perf_counter(), None, ""
        with self.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                data = line.removeprefix("data: ")
                if data and data != "[DONE]":
                    (choice,) = json.loads(data)["choices"]
                    text += choice["delta"].get("content") or ""
                    first = first or (text and time.perf_counter() - started) or None
        if first is None:
            raise SystemExit("No reply came.")
        self.messages.append({"role": "assistant", "content": text})
        return first


def measure(flags):
    """One start: seconds for each part, then for the first and the second message."""
    started = time.perf_counter()
    command = [sys.executable, "app.py", "--port", "0", *flags]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = next(filter(None, map(READY.search, process.stdout)), None)
            if ready is None:
                raise SystemExit("The program did not start.")
            up = time.perf_counter() - started
            model, url, parts = ready.groups()
            times = {
                part.rpartition(" ")[0]: float(part.rpartition(" ")[2])
                for part in parts.replace(" s", "").split(", ")
            }
            chat = Chat(url)
            first = chat.ask(QUESTIONS[0])
            times["process and the rest"] = up - sum(times.values())
            times["first message, to its first token"] = first
            times["in all, to the first token"] = up + first
            times["second message, to its first token"] = chat.ask(QUESTIONS[1])
            return model, times
        finally:
            process.terminate()


def machine():
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        cpu = found[1] if found else cpu
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    python = f"Python {platform.python_version()}"
    return f"{cpu}, {cores} cores, {platform.system()}, {python}, load {load:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("flags", nargs="*", help="flags of app.py, after --")
    arguments = parser.parse_args()
    runs = [measure(arguments.flags) for _ in range(arguments.repeat)]
    model = runs[0][0]
    print(f"{model} on {machine()}; {len(runs)} starts\n")
    print("| | median s | slowest s |\n|---|---:|---:|")
    for part in runs[0][1]:
        values = [times[part] for _, times in runs]
        print(f"| {part} | {statistics.median(values):.2f} | {max(values):.2f} |")


if __name__ == "__main__":
    main()
