"""The end of the program while the API writes: each client gets what there is, and is told so."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.waiting import EXIT_S, keeps, until
from tests.web.test_web import SERVE, program

BODIES = {
    "/v1/completions": {"prompt": "hi", "max_tokens": 60},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 60},
}
RUNNING, WAITING = 8, 4


def read(url, path, streamed, begun):
    """(text, finish reasons, whether the answer was whole). begun: gets an item with the first
    words of a stream."""
    body = {**BODIES[path], "stream": streamed}
    with httpx.stream("POST", url + path, json=body, timeout=60) as answer:
        assert answer.status_code == 200
        lines = []
        for line in filter(None, answer.iter_lines()):
            lines.append(line)
            if ':"O' in line:
                begun.append(path)
    whole = lines.pop() == "data: [DONE]" if streamed else True
    choices = [json.loads(line.removeprefix("data: "))["choices"][0] for line in lines]
    parts = [choice.get("delta") or choice.get("message") or choice for choice in choices]
    text = "".join(part.get("text") or part.get("content") or "" for part in parts)
    return text, [reason for c in choices if (reason := c["finish_reason"])], whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_the_api_writes(number):
    keeps(lambda: end_by(number))


def end_by(number):
    process = program("--port", "0", code=SERVE)
    try:
        url = process.stdout.readline().strip()

        def health():
            return httpx.get(url + "/health").json()

        with ThreadPoolExecutor(RUNNING + WAITING) as pool:
            kinds = [(path, streamed) for path in BODIES for streamed in (True, False)]
            begun = []
            asked = [pool.submit(read, url, *kinds[n % 4], begun) for n in range(RUNNING)]
            until(lambda: health()["running"] == RUNNING and len(begun) == RUNNING / 2)
            late = [pool.submit(read, url, *kinds[n % 4], begun) for n in range(WAITING)]
            until(lambda: health()["waiting"] == WAITING)
            process.send_signal(number)
            sent = time.monotonic()
            until(lambda: process.poll() is not None, sent + EXIT_S - time.monotonic())
            assert {task.result()[0].strip() for task in asked} == {"Once"}
            assert {task.result()[0] for task in late} == {""}
            ends = {(*task.result()[1], task.result()[2]) for task in asked + late}
            assert ends == {("abort", True)}
    finally:
        process.kill()
        process.communicate()
