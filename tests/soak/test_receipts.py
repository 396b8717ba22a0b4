"""Replies that a person has shaped, by instructions, a template of their own and the first words,
are had again from their receipts by the embedded model."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from assistant.prompting.editor import to_toml
from assistant.prompting.load import load_template
from tests.support.server import Page
from tests.web.test_app import start

pytestmark = pytest.mark.soak

COUNT, TOGETHER = 200, 8
OWN = to_toml(
    replace(
        load_template("tech-assistant-short"),
        name="Mine",
        system="Here the assistant keeps to this: {system}\n\n",
    )
)
MODULES = ("itertools", "functools", "pathlib", "json", "re", "collections", "csv", "math")


def shaped(number):
    """The body of a request, each of another shape."""
    settings = {"temperature": 0.8, "seed": number, "max_new_tokens": 48}
    if number % 2:
        settings |= {"template": "Mine", "template_text": OWN}
        settings |= {"system": "Answer in one sentence."} if number % 4 == 1 else {}
    begin = {"begin": "It is"} if number % 3 else {}
    return {"settings": settings, **begin}


def twice(url, number):
    """Where a reply and its second run part: None if they do not."""
    with Page(url) as page:
        module = MODULES[number % len(MODULES)]
        receipt = page.chat(f"What does {module} do? {number}", **shaped(number))[-1]["receipt"]
        with page.news("again", turns=page.turns, receipt=receipt) as news:
            return list(news)[-1]["compared"]["at"]


@pytest.mark.parametrize("together", [1, TOGETHER])
def test_two_hundred_replies_are_had_again(together):
    process = start()
    try:
        url = re.search(r"http://\S+", process.stdout.readline())[0]
        with ThreadPoolExecutor(together) as readers:
            parts = list(readers.map(lambda number: twice(url, number), range(COUNT)))
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert parts == [None] * COUNT
