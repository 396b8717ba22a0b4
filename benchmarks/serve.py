"""Many chats at once, over HTTP, on the running program: waits, gaps, tokens a second.

    python -m benchmarks.serve [--chats 1 4 8 16] [--write] [-- FLAGS OF app.py]

The server is a process of its own; each chat is a thread here that asks through the API, and they
share the machine's cores with it. A chat is told of new text at most every 30 ms or so: its gaps
are between such parts, not between tokens.
"""

import argparse
import contextlib
import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from benchmarks import machine, report
from benchmarks.apart import in_process
from benchmarks.chats import examples
from benchmarks.machine import undisturbed
from benchmarks.start import Chat, program
from benchmarks.timeline import median, percentile

POLL_S = 0.002
LONG = 4000  # tokens of a reply that takes a while


def seconds_to_free_a_slot(url):
    """A client asks for a long continuation, and leaves while it is written; until /health says
    that nothing runs."""
    body = {"prompt": "import", "max_tokens": LONG, "stream": True}
    with httpx.stream("POST", url + "/v1/completions", json=body, timeout=600) as response:
        next(response.iter_lines())
        left = time.perf_counter()
    while httpx.get(url + "/health").json()["running"]:
        time.sleep(POLL_S)
    return time.perf_counter() - left


def crowd(url, chats, rounds):
    """A row of the table: `chats` at once, each of `rounds` questions."""
    every = examples()

    def chat(one, first):
        return [one.ask(every[(first + n) % len(every)]) for n in range(rounds)]

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(chats) as pool:
        opened = [stack.enter_context(Chat(url)) for _ in range(chats)]
        started = time.perf_counter()
        replies = list(itertools.chain(*pool.map(chat, opened, range(chats))))
        elapsed = time.perf_counter() - started
    waits = [times[0] for times, _ in replies if times]
    gaps = [b - a for times, _ in replies for a, b in itertools.pairwise(times)]
    tokens = sum(tokens for _, tokens in replies)
    times = [median(waits), percentile(waits, 0.99), percentile(gaps, 0.5), percentile(gaps, 0.99)]
    return [
        str(chats),
        *("" if t is None else f"{1e3 * t:,.0f}" for t in times),
        f"{tokens / elapsed:,.0f}",
    ]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="embedded", help="embedded, or a folder")
    parser.add_argument("--chats", nargs="+", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=4, help="questions of each chat")
    parser.add_argument("--repeat", type=int, default=5, help="of the disconnects")
    parser.add_argument("--write", action="store_true", help="into RESULTS.md")
    parser.add_argument("flags", nargs="*", help="flags of app.py, after --")
    arguments = parser.parse_args(argv)
    where = machine.where(in_process(machine.bandwidth))
    with program(["--model", arguments.model, *arguments.flags]) as running:
        url = running.url
        crowd(url, 1, 1)  # what is made at the first message counts for nobody
        rows = [undisturbed(crowd, url, chats, arguments.rounds) for chats in arguments.chats]
        freed = [undisturbed(seconds_to_free_a_slot, url) for _ in range(arguments.repeat)]
    head = ["chats", "TTFT p50 ms", "TTFT p99 ms", "gap p50 ms", "gap p99 ms", "tokens/s in all"]
    text = (
        f"{where}\n\n{running.model}, {arguments.rounds} questions of each chat, one after the "
        "other; gaps are between parts of a reply.\n\n"
        f"{report.markdown(head, rows)}\n\nA client that leaves while its text is written: its "
        f"slot is free after {1e3 * median(freed):,.0f} ms (median of {len(freed)}, slowest "
        f"{1e3 * max(freed):,.0f} ms)."
    )
    print(text)
    if arguments.write:
        report.write_section(f"Chats over HTTP: {running.model}", text)


if __name__ == "__main__":
    main()
