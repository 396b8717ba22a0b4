"""Many pages at once, over HTTP, on the running program: waits, gaps, tokens a second.

    python -m benchmarks.serve [--pages 1 4 8 16] [--write] [-- FLAGS OF app.py]

The server is a process of its own; each page is a thread here that asks in Gradio's protocol, as
the browser does, and they share the machine's cores with it. A page is told of new text at most
every 30 ms or so: its gaps are between such updates, not between tokens.
"""

import argparse
import contextlib
import html
import json
import re
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from assistant.engine.tokenizer import load_tokenizer
from benchmarks import machine, report
from benchmarks.apart import ROOT, in_process
from benchmarks.chats import examples
from benchmarks.engine import find_model
from benchmarks.machine import undisturbed
from benchmarks.start import READY
from benchmarks.timeline import median, percentile

RAW = re.compile(r'<pre class="raw">(.*?)</pre>', re.S)  # the last reply, as the model wrote it
FIRST = re.compile("Writing|tokens/s")  # a page's status once the reply has words
POLL_S = 0.002
# Of the playground's continuation, behind the prompt: sampling, then a length that takes a while.
LONG = [0, 1, 0, 1, 4000, "", "", None]


@dataclass(slots=True)
class Answer:
    """What a page saw, in seconds since it asked. times: of each update with words of the reply."""

    times: list = field(default_factory=list)
    ended: float = 0.0
    text: str = ""


class Page:
    """An open page. Use as a context manager; leaving the block closes its connections."""

    def __init__(self, url):
        self.http = httpx.Client(base_url=url, timeout=600)
        self.config = self.http.get("/config").json()
        self.session = secrets.token_hex(6)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def event(self, elem_id, name):
        """The number of the function behind an event of the component with this elem_id."""
        components, dependencies = self.config["components"], self.config["dependencies"]
        number = next(c["id"] for c in components if c["props"].get("elem_id") == elem_id)
        return next(d["id"] for d in dependencies if [number, name] in d["targets"])

    @contextlib.contextmanager
    def call(self, number, data):
        """Ask for an event; the lines that come back, until the block is left."""
        body = {"fn_index": number, "data": data, "session_hash": self.session}
        self.http.post("/gradio_api/queue/join", json=body).raise_for_status()
        query = {"session_hash": self.session}
        with self.http.stream("GET", "/gradio_api/queue/data", params=query) as response:
            yield response.iter_lines()

    def ask(self, question):
        """Send a chat message and read the reply to its end."""
        started, answer, last = time.perf_counter(), Answer(), ""
        with self.call(self.event("message", "submit"), [question, None]) as lines:
            for line in lines:
                if "process_generating" in line and (answer.times or FIRST.search(line)):
                    answer.times.append(time.perf_counter() - started)
                if "process_completed" in line:
                    last = line
                if "close_stream" in line:
                    break
        answer.ended = time.perf_counter() - started
        shown = json.loads(last[6:])["output"]["data"][0]
        answer.text = html.unescape(RAW.findall(shown)[-1])
        return answer


def seconds_to_free_a_slot(url):
    """A page asks for a long continuation, and closes while it is written; until /health says that
    nothing runs."""
    with Page(url) as page:
        with page.call(page.event("continue", "click"), ["import", *LONG]) as lines:
            for line in lines:
                if httpx.get(url + "/health").json()["running"] and "generating" in line:
                    break
        left = time.perf_counter()
    while httpx.get(url + "/health").json()["running"]:
        time.sleep(POLL_S)
    return time.perf_counter() - left


def crowd(url, pages, rounds, tokenizer):
    """A row of the table: `pages` at once, each with a chat of `rounds` questions."""
    every = examples()

    def chat(page, first):
        return [page.ask(every[(first + n) % len(every)]) for n in range(rounds)]

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(pages) as pool:
        opened = [stack.enter_context(Page(url)) for _ in range(pages)]
        started = time.perf_counter()
        chats = list(pool.map(chat, opened, range(pages)))
        elapsed = time.perf_counter() - started
    answers = [answer for chat in chats for answer in chat]
    waits = [answer.times[0] for answer in answers if answer.times]
    gaps = [
        b - a for answer in answers for a, b in zip(answer.times, answer.times[1:], strict=False)
    ]
    tokens = sum(len(tokenizer.encode(answer.text)) for answer in answers)
    times = [median(waits), percentile(waits, 0.99), percentile(gaps, 0.5), percentile(gaps, 0.99)]
    return [
        str(pages),
        *("" if t is None else f"{1e3 * t:,.0f}" for t in times),
        f"{tokens / elapsed:,.0f}",
    ]


@contextlib.contextmanager
def program(flags):
    """app.py in a process of its own; gives its address."""
    command = [sys.executable, "app.py", "--port", "0", *flags]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = next(filter(None, map(READY.search, process.stdout)), None)
            if ready is None:
                raise SystemExit("The program did not start.")
            yield ready[2]
        finally:
            process.terminate()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="embedded", help="embedded, or a folder")
    parser.add_argument("--pages", nargs="+", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=4, help="questions of each page")
    parser.add_argument("--repeat", type=int, default=5, help="of the disconnects")
    parser.add_argument("--write", action="store_true", help="into RESULTS.md")
    parser.add_argument("flags", nargs="*", help="flags of app.py, after --")
    arguments = parser.parse_args()
    where = machine.where(in_process(machine.bandwidth))
    model = find_model(arguments.model, None)
    tokenizer = load_tokenizer(model)
    with program(["--model", arguments.model, *arguments.flags]) as url:
        crowd(url, 1, 1, tokenizer)  # what is made at the first message counts for nobody
        rows = [
            undisturbed(crowd, url, pages, arguments.rounds, tokenizer) for pages in arguments.pages
        ]
        freed = [undisturbed(seconds_to_free_a_slot, url) for _ in range(arguments.repeat)]
    head = ["pages", "TTFT p50 ms", "TTFT p99 ms", "gap p50 ms", "gap p99 ms", "tokens/s in all"]
    text = (
        f"{where}\n\n{model.name}, {arguments.rounds} questions of each page, one after the other; "
        "gaps are between updates of a page.\n\n"
        f"{report.markdown(head, rows)}\n\nA page that closes while its text is written: its slot "
        f"is free after {1e3 * median(freed):,.0f} ms (median of {len(freed)}, slowest "
        f"{1e3 * max(freed):,.0f} ms)."
    )
    print(text)
    if arguments.write:
        report.write_section(f"Pages over HTTP: {model.name}", text)


if __name__ == "__main__":
    main()
