"""What people ask, as data: each block of Python runs and gives what its check says, no wording
stands twice, and the evaluation that was written by hand can be met."""

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter

import pytest

from assistant.paths import ROOT

ASKED = sorted((ROOT / "training" / "asked").glob("*.toml"))
JUDGED = ROOT / "training" / "judged"
LINES_MAX = 20_000  # of a program: what runs on for ever ends there, on any machine
RUN = """
import contextlib, io, json, os, sys, tempfile
os.chdir(tempfile.mkdtemp())
class Endless(BaseException): pass
def trace(frame, event, value):
    global left
    if frame.f_code.co_filename != "answer":
        return None
    left -= 1
    if left < 0:
        raise Endless("is endless")
    return trace
for title, code, checks in json.load(sys.stdin):
    names, left = {"__name__": "answer"}, LINES_MAX
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            compiled = compile(code, "answer", "exec")
            sys.settrace(trace)
            exec(compiled, names)
            wrong = [check for check in checks if not eval(check, names)]
    except BaseException as error:
        wrong = [repr(error)]
    sys.settrace(None)
    if wrong:
        print(title, wrong)
""".replace("LINES_MAX", str(LINES_MAX))


def run_all(programs, tmp_path):
    """What is wrong with (title, code, checks), each run in one process that ends."""
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def words(text):
    return " ".join(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize("path", ASKED, ids=lambda path: path.stem)
def test_answers_are_short_and_their_code_runs(path, tmp_path):
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
    assert run_all(programs, tmp_path) == ""


def test_no_wording_stands_twice():
    counts = Counter(
        words(wording)
        for path in ASKED
        for question in tomllib.loads(path.read_text("utf-8"))["question"]
        for wording in (*question["ask"], *question["held_out"])
    )
    assert [wording for wording, count in counts.items() if count > 1] == []


def test_what_is_judged_can_be_met(tmp_path):
    stubs = tomllib.loads((JUDGED / "stubs.toml").read_text("utf-8"))["stub"]
    fills = tomllib.loads((JUDGED / "fills.toml").read_text("utf-8"))["fill"]
    programs = [(stub["code"], stub["code"] + stub["solution"], stub["checks"]) for stub in stubs]
    programs += [
        (fill["prefix"], fill["prefix"] + fill["middle"] + fill["suffix"], fill["checks"])
        for fill in fills
    ]
    assert len(stubs) >= 100 and len(fills) >= 60
    assert run_all(programs, tmp_path) == ""


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
