"""The evaluation of prompts: through a scripted engine, and once through a real one."""

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from assistant.chat import Assistant
from assistant.errors import EngineDead, EngineError
from assistant.playground.__main__ import _parser, main, measure
from assistant.playground.evaluate import evaluate
from assistant.playground.questions import Question
from assistant.playground.report import in_order, percent, table
from assistant.prompt import PromptTemplate
from tests.fake_engine import FakeEngine

ROOT = Path(__file__).parent.parent
ONE = Question("one", "first", "one plus one", facts=(("two",),))
TWO = Question("two", "second", "Write f", language="python", run="assert f() == 2")
F = "```python\ndef f():\n    return 2\n```"


def template(preamble="", **fields):
    return PromptTemplate("T", "Human:", "Assistant:", "\n\n", preamble, **fields)


def assistants(engine, *names):
    return {name: Assistant(engine, template(f"{name}.\n"), max_new_tokens=100) for name in names}


def answers(replies):
    """A script: the reply whose key is part of the prompt."""

    def script(request):
        prompt = engine.tokenizer.decode(request.ids)
        return next(reply for part, reply in replies.items() if part in prompt)

    engine = FakeEngine(script)
    return engine


def test_every_prompt_question_and_seed_is_asked_alone():
    engine = FakeEngine("It is two.\n\nHuman: more")
    results = list(evaluate(assistants(engine, "p", "q"), [ONE, TWO], 3))
    assert len(results) == len(engine.requests) == 12
    assert {(r.prompt, r.question.key, r.seed) for r in results} == {
        (p, q, s) for p in "pq" for q in ("one", "two") for s in range(3)
    }
    assert {request.sampling.seed for request in engine.requests} == {0, 1, 2}
    assert engine.status().running == 0
    for prompt in map(engine.prompt, range(12)):
        assert prompt.count("Human:") == 1 and prompt.endswith("Assistant:")


def test_what_a_result_says():
    engine = FakeEngine("It is two.\n\nHuman: more")
    (result,) = evaluate(assistants(engine, "p"), [ONE], 1)
    assert (result.text, result.reason, result.stop) == ("It is two.", "stop", "Human:")
    assert result.right is True and result.faults == () and result.error is None
    assert result.checks.stopped and result.checks.no_role_text
    assert result.tokens >= len("It is two.")


@pytest.mark.parametrize(
    "reply, run, right",
    [
        (F, True, True),
        (F, False, None),
        (F.replace("2", "3"), True, False),
        (F.replace("2", "3"), False, None),
        (F.replace("python", ""), True, False),
        ("No code.", True, False),
        (F.replace("():", "(:"), True, False),
    ],
)
def test_code_is_judged_only_when_it_is_run(reply, run, right):
    (result,) = evaluate(assistants(FakeEngine(reply), "p"), [TWO], 1, run=run)
    assert result.right is right
    assert bool(result.faults) is (right is False)


def test_code_is_not_run_unasked(tmp_path):
    mark = tmp_path / "mark"
    reply = f"```python\nopen({str(mark)!r}, 'w')\n```"
    list(evaluate(assistants(FakeEngine(reply), "p"), [TWO], 1))
    assert not mark.exists()
    list(evaluate(assistants(FakeEngine(reply), "p"), [TWO], 1, run=True))
    assert mark.exists()


def test_a_reply_that_fails_is_told_and_the_others_go_on():
    engine = answers({"one plus": ["Half", EngineError("Out of memory.")], "Write": "No."})
    one, two = in_order(evaluate(assistants(engine, "p"), [ONE, TWO], 1), [ONE, TWO], "p")
    assert (one.error, one.right, one.checks) == ("Out of memory.", False, None)
    assert two.error is None and two.checks.stopped


def test_a_message_that_cannot_fit_is_one_failure():
    long = dataclasses.replace(ONE, key="long", ask="x" * 9000)
    results = evaluate(assistants(FakeEngine("two"), "p"), [long, ONE], 1)
    assert sorted((r.question.key, r.right) for r in results) == [("long", False), ("one", True)]


def test_closing_cancels_what_runs():
    never = threading.Event()
    engine = FakeEngine(lambda request: ["a"] if len(engine.requests) == 1 else ["b", never])
    stream = evaluate(assistants(engine, "p"), [ONE], 20)
    next(stream)
    stream.close()
    assert engine.active == [] and len(engine.requests) < 20


# --- The table


def columns(text):
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_the_table():
    engine = answers({"p.\n": "two", "q.\n": "```python\n("})
    both = assistants(engine, "p", "q")
    results = in_order(evaluate(both, [ONE, TWO], 2), [ONE, TWO], both)
    rows = columns(table(results, both))
    assert list(rows)[:2] == ["right", "-" * len("median length, tokens")]
    assert rows["right"] == ["p", "q"]
    assert rows["first (2)"] == ["100 %", "0 %"]
    assert rows["second (0)"] == ["–", "–"]
    assert rows["all areas (2)"] == ["100 %", "0 %"]
    assert rows["ended by itself (4)"] == ["100 %", "100 %"]
    assert rows["fences closed (4)"] == ["100 %", "0 %"]
    assert rows["Python parses"] == ["– of 0", "0 % of 4"]
    lengths = [float(cell) for cell in rows["median length, tokens"]]
    assert lengths[0] >= 3 and lengths[1] > lengths[0]


def test_the_table_of_nothing():
    assert columns(table([], ["p"]))["all areas (0)"] == ["–"]


@pytest.mark.parametrize("share, shown", [(None, "–"), (1 / 3, "33 %"), (1, "100 %")])
def test_percent(share, shown):
    assert percent(share) == shown


# --- The command


def arguments(*argv):
    return _parser().parse_args(["eval", *argv])


def test_the_files_hold_every_reply(tmp_path, capsys):
    args = arguments("--csv", str(tmp_path / "r.csv"), "--json", str(tmp_path / "r.json"))
    engine = FakeEngine('Two, ünd\n"quoted", a line')
    assert (
        measure(engine, {"p": template("P.\n"), "q": template("Q.\n")}, [ONE, TWO], args, 50) == 0
    )
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text("utf-8"), newline="")))
    document = json.loads((tmp_path / "r.json").read_text("utf-8"))
    found = [("one", "p"), ("one", "q"), ("two", "p"), ("two", "q")]
    assert [(row["question"], row["prompt"]) for row in rows] == found
    assert [(row["question"], row["prompt"]) for row in document["results"]] == found
    text = 'Two, ünd\n"quoted", a line'
    assert rows[0]["text"] == document["results"][0]["text"] == text
    assert (rows[0]["right"], rows[2]["right"], rows[0]["stopped"]) == ("1", "", "1")
    assert document["prompts"]["p"]["hash"] == template("P.\n").hash
    assert document["prompts"]["p"]["max_new_tokens"] == 50
    out = capsys.readouterr().out
    assert "1 questions are judged only with --run-code" in out


@pytest.mark.parametrize(
    "error, code", [(KeyboardInterrupt(), 130), (EngineDead("The engine has stopped."), 1)]
)
def test_what_ends_early_shows_what_there_is(tmp_path, capsys, error, code):
    judged = threading.Event()

    class First(Question):
        def faults(self, text):
            judged.set()
            return ()

    def script(request):
        if "plus" in engine.tokenizer.decode(request.ids):
            return ["Two."]
        return failing()

    def failing():
        yield judged
        raise error

    engine = FakeEngine(script)
    questions = [First("one", "first", "one plus one", facts=(("x",),)), TWO]
    args = arguments("--csv", str(tmp_path / "r.csv"))
    assert measure(engine, {"p": template("P.\n")}, questions, args, 50) == code
    out, err = capsys.readouterr()
    assert "Ended early: 1 of 2 replies." in err
    assert columns(out.partition("\n\n")[2])["first (1)"] == ["100 %"]
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 2
    assert engine.active == []


@pytest.mark.parametrize(
    "argv, sentence",
    [
        ([], "required: command"),
        (["eval", "--seeds", "0"], "--seeds must be a whole number from 1 to 100, not '0'."),
        (["eval", "--seeds"], "expected one argument"),
        (["eval", "--prompt", "nobody"], "There is no prompt template 'nobody'"),
        (["eval", "--questions", "/nowhere"], "The questions /nowhere cannot be read"),
        (["eval", "--csv", "/nowhere/x.csv"], "/nowhere/x.csv cannot be written"),
        (["eval", "--modle", "x"], "unrecognized arguments: --modle x"),
        (["eval", "--model", "/nowhere"], "/nowhere"),
        (["eval", "--slots", "0"], "--slots"),
    ],
)
def test_mistakes_are_one_sentence(capsys, argv, sentence):
    assert main(argv) == 1
    out, err = capsys.readouterr()
    assert sentence.lower() in err.lower()
    assert out == "" and err.count("\n") == 1


def test_help_says_that_run_code_is_no_sandbox(capsys):
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    assert "NO sandbox" in " ".join(capsys.readouterr().out.split())


def test_from_the_command_line(tiny_checkpoint, tmp_path):
    (tmp_path / "small.toml").write_text(
        '[[question]]\nkey = "k"\narea = "letters"\nask = "Say a"\nfacts = [["[a-z]"]]\n'
    )
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(
            f'name = "{name}"\nuser = "Human:"\nassistant = "Assistant:"\nturn_end = "\\n\\n"\n'
            f'preamble = "{name}"\n'
        )
    command = [sys.executable, "-m", "assistant.playground", "eval", "--device", "cpu"]
    command += ["--model", tiny_checkpoint, "--questions", tmp_path / "small.toml"]
    command += ["--prompt", tmp_path / "one.toml", "--prompt", tmp_path / "two.toml"]
    command += ["--seeds", "2", "--max-new-tokens", "8", "--json", tmp_path / "r.json"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "r.json").read_text("utf-8"))["results"]
    assert [(Path(r["prompt"]).stem, r["seed"]) for r in results] == [
        ("one", 0),
        ("one", 1),
        ("two", 0),
        ("two", 1),
    ]
    assert all(0 <= r["tokens"] <= 8 and r["error"] is None for r in results)
    rows = columns(done.stdout.partition("\n\n")[2])
    assert "letters (2)" in rows and "ended by itself (2)" in rows
    assert "Traceback" not in done.stderr
