"""What people ask, as data: each block of Python runs and gives what its check says, no wording
stands twice, and the evaluation that was written by hand can be met."""

import re
import tomllib
from collections import Counter

import pytest

from assistant.paths import ROOT
from training.running import run_all

ASKED = sorted((ROOT / "training" / "asked").glob("*.toml"))
JUDGED = ROOT / "training" / "judged"


def words(text):
    return " ".join(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize("path", ASKED, ids=lambda path: path.stem)
def test_answers_are_short_and_their_code_runs(path):
    programs = []
    for question in tomllib.loads(path.read_text("utf-8"))["question"]:
        title, answer = question["ask"][0], question["answer"]
        assert set(question) <= {"ask", "held_out", "answer", "check", "key"}, title
        assert len(question["ask"]) >= 3 and question["held_out"] and question["key"], title
        assert all(key.lower() in answer.lower() for key in question["key"]), title
        prose = re.sub(r"```.*?```", "", answer, flags=re.DOTALL)
        assert len(prose.split()) <= 60, title
        for block in re.findall(r"```python\n(.*?)```", answer, re.DOTALL)[:1]:
            programs.append((title, block, [question.get("check", "True")]))
    assert run_all(programs) == {}


def test_no_wording_stands_twice():
    counts = Counter(
        words(wording)
        for path in ASKED
        for question in tomllib.loads(path.read_text("utf-8"))["question"]
        for wording in (*question["ask"], *question["held_out"])
    )
    assert [wording for wording, count in counts.items() if count > 1] == []


def test_what_is_judged_can_be_met():
    stubs = tomllib.loads((JUDGED / "stubs.toml").read_text("utf-8"))["stub"]
    fills = tomllib.loads((JUDGED / "fills.toml").read_text("utf-8"))["fill"]
    programs = [(stub["code"], stub["code"] + stub["solution"], stub["checks"]) for stub in stubs]
    programs += [
        (fill["prefix"], fill["prefix"] + fill["middle"] + fill["suffix"], fill["checks"])
        for fill in fills
    ]
    assert len(stubs) >= 100 and len(fills) >= 60
    assert run_all(programs) == {}


def test_nothing_that_is_judged_is_taught():
    judged = tomllib.loads((JUDGED / "questions.toml").read_text("utf-8"))
    asked = {words(item["ask"]) for kind in judged.values() for item in kind}
    taught = {
        words(wording)
        for path in ASKED
        for question in tomllib.loads(path.read_text("utf-8"))["question"]
        for wording in question["ask"]
    }
    assert len(judged["question"]) >= 200 and asked & taught == set()
