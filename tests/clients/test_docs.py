"""The examples of docs/clients.md, run as they stand there."""

import json
import re

import pytest

from .conftest import KEY, QUESTION, ROOT

TEXT = (ROOT / "docs/clients.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_versions_are_those_that_are_run():
    folder = ROOT / "tests/clients"
    pins = "".join(path.read_text() for path in folder.glob("requirements*.txt"))
    told = re.findall(r"^\| \[(\S+)\]\S+ \| ([\d.]+) \| .* \| package \|$", TEXT, re.MULTILINE)
    pinned = dict(re.findall(r"^([\w-]+?)(?:-chat)?(?:\[\w+\])?==(\S+)", pins, re.MULTILINE))
    assert len(told) == 8 and all(pinned[name] == version for name, version in told)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example(server, capsys, number):
    example = EXAMPLES[number].replace("http://127.0.0.1:7860", server.url)
    exec(re.sub(r"\bKEY\b", KEY, example), {})
    assert capsys.readouterr().out == f"{server.reply()}\n{server.text()}\n"


def test_the_command(server):
    ((route, body),) = re.findall(
        r"^curl http://127.0.0.1:7860(\S+) (?:.*\\\n)+.* -d '(.*)'", TEXT, re.M
    )
    assert json.loads(body)["messages"][0]["content"] == QUESTION
    answer = server.post(route, **json.loads(body))
    assert answer["choices"][0]["message"]["content"] == server.reply(max_tokens=None)
