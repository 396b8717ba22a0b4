"""What the API adds to a token: a stream of /v1/completions beside the engine's own iterator.

    python -m benchmarks.api [--streams 1 8] [--tokens 256] [--repeat 15] [--write]

One process holds the engine and the server, as the program does; the client of the API is another
one, which shares the machine's cores with it. Engine and API take turns with the same prompt, whose
prefix both find in the cache. A time is that of a whole reply, from the request to its last event,
divided by its tokens: the connection, the request, what is prepared for it and the last look at
the engine are in it. The API gathers what is new every 30 ms or so: that moves tokens
together, and adds at most one such pause to a whole reply.
"""

import argparse
import contextlib
import json
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from assistant.settings import Settings
from benchmarks import machine, report
from benchmarks.apart import in_process
from benchmarks.machine import undisturbed
from benchmarks.report import Line
from benchmarks.timeline import median

PROMPT = "import collections\n\n\ndef count_words(lines):\n"
ADDED_MS = 1.0  # what the API may add to a token, the median


def of_engine(engine, request):
    """Seconds for a token of one reply, and how many tokens it has."""
    started = time.perf_counter()
    (*_, finished) = engine.generate(request)
    return (time.perf_counter() - started) / finished.new_tokens, finished.new_tokens


def of_api(url, body):
    """The same over HTTP."""
    started, tokens = time.perf_counter(), None
    with httpx.stream("POST", url, json=body, timeout=600) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line == "data: [DONE]":
                break
            if line:
                event = json.loads(line.removeprefix("data: "))
                tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    return (time.perf_counter() - started) / tokens, tokens


def at_once(measure, streams, *arguments):
    """Seconds for a token, the median of `streams` replies at once; and the tokens of each."""
    with ThreadPoolExecutor(streams) as pool:
        found = list(pool.map(lambda _: measure(*arguments), range(streams)))
    return median(seconds for seconds, _ in found), [tokens for _, tokens in found]


@contextlib.contextmanager
def serving(settings):
    """The engine, and the address of a server in front of it, in a thread of this process."""
    from assistant.chat.assistant import Assistant
    from assistant.engine.open import open_engine
    from assistant.prompting.choose import find_template, suitable_template
    from assistant.web.app import build_app
    from assistant.web.server import listen, local_address, make_server

    engine = open_engine(settings)
    app = build_app(Assistant(engine, find_template(suitable_template(engine), engine)), settings)
    with listen(settings) as sock:
        server = make_server(app, settings)
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        try:
            yield engine, local_address(settings, sock)
        finally:
            server.should_exit = True
            thread.join()


def cell(engine, url, client, arguments, streams):
    """(engine, API) pairs of milliseconds for a token, as many as --repeat."""
    from assistant.engine.protocol import Request
    from assistant.sampling import Sampling

    tokenizer = engine.tokenizer
    ids = tuple(tokenizer.encode(PROMPT))
    stop = frozenset({tokenizer.eos_id})
    request = Request(ids, Sampling(temperature=0), arguments.tokens, stop_ids=stop)
    body = {
        "prompt": list(ids),
        "max_tokens": arguments.tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    pairs = []
    for turn in range(arguments.repeat + 1):
        direct, counts = at_once(of_engine, streams, engine, request)
        over, told = client.apply(at_once, (of_api, streams, url + "/v1/completions", body))
        if counts != told:
            raise SystemExit(f"The API wrote {told} tokens, the engine {counts}.")
        if turn:  # the first one warms both up
            pairs.append((1e3 * direct, 1e3 * over))
    return pairs


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="embedded", help="embedded, a folder or a hub id")
    parser.add_argument("--streams", nargs="+", type=int, default=[1, 8], help="replies at once")
    parser.add_argument("--tokens", type=int, default=256, help="of a reply, at most")
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="into RESULTS.md")
    arguments = parser.parse_args(argv)
    where = machine.where(in_process(machine.bandwidth))
    settings = Settings(port=0, model=arguments.model, slots=max(arguments.streams))
    rows, lines = [], []
    with (
        serving(settings) as (engine, url),
        multiprocessing.get_context("spawn").Pool(1) as client,
    ):
        for streams in arguments.streams:
            pairs = undisturbed(cell, engine, url, client, arguments, streams)
            added = sorted(over - direct for direct, over in pairs)
            middle = median(added)
            cells = [median(p[0] for p in pairs), median(p[1] for p in pairs), middle, added[-1]]
            rows.append([str(streams), *(f"{ms:.2f}" for ms in cells)])
            lines.append(
                Line(
                    f"{streams} at once: the API adds at most {ADDED_MS:.0f} ms to a token",
                    f"{middle:.2f} ms",
                    middle <= ADDED_MS,
                )
            )
    head = ["replies at once", "engine ms", "API ms", "added, median ms", "added, most ms"]
    text = (
        f"{where}\n\n{engine.model}, greedy replies of up to {arguments.tokens} tokens; time of a "
        f"whole reply divided by its tokens, {arguments.repeat} turns, engine and API one after "
        "the other.\n\n"
        f"{report.markdown(head, rows)}\n\n{report.promises(lines)}"
    )
    print(text)
    if arguments.write:
        report.write_section(f"What the API adds to a token: {arguments.model}", text)


if __name__ == "__main__":
    main()
