"""Mixed use for SOAK_S seconds: eight at once chat, complete, look up, stop, and open pages.

Nothing fails; threads, descriptors and memory are flat after the first tenth; what a new page costs
is measured.
"""

import itertools
import os
import random
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.hostile import Walked
from tests.support.server import Page
from tests.support.waiting import until

pytestmark = pytest.mark.soak

SOAK_S = float(os.environ.get("SOAK_S", "600"))
WARM_S = max(20, SOAK_S / 10)
AT_ONCE = 8
PAGES = 100
GROWTH_KB_MAX = 200  # of the server's memory, for each page that was opened and left
CODE = "def average(numbers):\n    return sum(numbers) / len(numbers)\n" * 3


def chat(page):
    news = page.chat("What does zip do in Python?")
    assert "turn" in news[-1], news[-1]


def stop(page):
    run = secrets.token_hex(6)
    with page.news("chat", run=run, turns=[], text="Count to a hundred.") as news:
        next(news)
        assert page.ask("stop", {"run": run}).status_code == 200
        assert "turn" in list(news)[-1]


def complete(page):
    body = {"prompt": CODE, "max_tokens": 8, "temperature": 1}
    answer = page.post("/v1/completions", body)
    assert answer.status_code == 200, answer.text


def look_up(page):
    with page.news("sources", text=CODE) as news:
        assert "matches" in list(news)[-1]


def leave(page):
    with page.news("chat", turns=[], text="Tell me a long story.") as news:
        next(news)


def open_page(page):
    assert page.http.get("/").status_code == page.http.get("/config").status_code == 200
    with page.http.stream("GET", f"/gradio_api/heartbeat/{page.session}"):
        assert page.join(page.event("source-check", "click"), ["", False]).status_code == 200
        with page.stream() as messages:
            assert any(message["msg"] == "process_completed" for message in messages)


ACTS = (chat, stop, complete, look_up, leave, open_page)


def figures(process):
    return process.num_threads(), process.num_fds(), process.memory_info().rss


def use(url, until_s, seed):
    draw, count = random.Random(seed), 0
    while time.monotonic() < until_s:
        with Page(url) as page:
            draw.choice(ACTS)(page)
        count += 1
    return count


def use_for(url, seconds):
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(use, itertools.repeat(url), [end] * AT_ONCE, range(AT_ONCE)))


def test_mixed_use_leaves_nothing():
    with Walked() as walked:
        use_for(walked.url, WARM_S)
        threads, files, memory = figures(walked.process)
        count = use_for(walked.url, SOAK_S)

        def back():
            now = figures(walked.process)
            return now[0] <= threads and now[1] <= files and now[2] < 1.1 * memory

        until(back, 90)
        after = walked.process.memory_info().rss
        for _ in range(PAGES):
            with Page(walked.url) as page:
                open_page(page)
        growth = (walked.process.memory_info().rss - after) / PAGES / 1000
        print(f"{count} uses in {SOAK_S:.0f} s; {memory / 1e6:.0f} MB, then {after / 1e6:.0f} MB; "
              f"{growth:.1f} kB for each new page")  # fmt: skip
        assert growth < GROWTH_KB_MAX
        walked.check_silence()
        with Page(walked.url) as page:
            chat(page)
