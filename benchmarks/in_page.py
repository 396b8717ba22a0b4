"""The running program's own speed: asked through its API, and in a real Chromium on its cores.

Both are told by the engine itself, in /metrics: the figures that stand in each reply's receipt.
"""

import contextlib
import re
from functools import partial
from pathlib import Path

import httpx

from benchmarks.machine import undisturbed
from benchmarks.samples import QUIET, Measure, Samples, in_turn
from benchmarks.start import Chat, program
from benchmarks.timeline import median
from tests.support.browser import chromium, finished, opened

PAGE = "with a page in Chromium"
QUESTIONS = 4  # of the page's examples
RATE = Measure("four questions, tokens/s", more=True)
FIRST = Measure("the same, first token, ms")


def measure(flags: list, folders: dict[str, Path], repeat: int) -> Samples:
    """The program of each of `folders`, which run all the time."""
    samples = Samples()
    with chromium() as browser, contextlib.ExitStack() as stack:
        urls = {
            name: stack.enter_context(program(flags, folder)).url
            for name, folder in folders.items()
        }
        asked = {name: _examples(browser, url) for name, url in urls.items()}
        for name, url in urls.items():
            ask_the_api(url, asked[name])  # the first replies count for nobody
        ways = {QUIET: ask_the_api, PAGE: partial(ask_the_page, browser)}
        for repetition in range(repeat):
            for company, ask in ways.items():
                for name in in_turn(list(urls), repetition):
                    replies = undisturbed(ask, urls[name], asked[name])
                    seconds, rates = zip(*replies, strict=True)
                    samples.add(RATE, name, company, median(rates))
                    samples.add(FIRST, name, company, 1e3 * median(seconds))
    return samples


def ask_the_api(url: str, questions: list[str]) -> list[tuple[float, float | None]]:
    """Asks the questions, each in a chat of its own: (seconds to the first token, tokens a
    second) of each reply, the latter None for a single token."""
    found = []
    for question in questions:
        before = _sums(url)
        with Chat(url) as chat:
            chat.ask(question)
        found.append(_reply(before, _sums(url)))
    return found


def ask_the_page(browser, url: str, questions: list[str]) -> list[tuple[float, float | None]]:
    """The same in a page, whose examples they are, and which shows each reply while it grows."""
    found = []
    with opened(browser, url) as page:
        for number in range(len(questions)):
            page.wait_for_selector(".welcome")
            before = _sums(url)
            page.click(f".act-example >> nth={number}")
            finished(page)
            found.append(_reply(before, _sums(url)))
            page.click("#chats-new")
    return found


def _examples(browser, url):
    with opened(browser, url) as page:
        page.wait_for_selector(".act-example")
        return page.locator(".act-example").all_inner_texts()[:QUESTIONS]


def _sums(url):
    """Seconds to the first token and between two tokens, each summed over all replies so far."""
    text = httpx.get(f"{url}/metrics").text
    names = "time_to_first_token_seconds", "inter_token_latency_seconds"
    return [float(re.search(rf"^assistant_{name}_sum (\S+)", text, re.M)[1]) for name in names]


def _reply(before, after):
    first_s, gap_s = (b - a for a, b in zip(before, after, strict=True))
    return first_s, 1 / gap_s if gap_s > 0 else None
