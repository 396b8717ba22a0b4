"""The evaluation of prompts: through a scripted engine, and once through a real one."""

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from assistant.chat.assistant import Assistant
from assistant.engine.protocol import Request
from assistant.errors import EngineDead, EngineError, RequestError, TemplateError, TextError
from assistant.evaluation import evaluate as evaluate_module
from assistant.evaluation.__main__ import _parser, main, measure
from assistant.evaluation.checks import check
from assistant.evaluation.evaluate import Result, evaluate
from assistant.evaluation.questions import Question, unchecked_questions
from assistant.evaluation.report import (
    CHECKS,
    LENGTH,
    figures,
    in_order,
    percent,
    table,
    to_csv,
    to_json,
)
from assistant.evaluation.workbench import Comparison, Tally, pairs, tally
from assistant.paths import ROOT
from assistant.prompting.load import load_template
from assistant.prompting.template import PromptTemplate
from assistant.sampling import Sampling
from tests.support.fake_engine import FakeEngine
from tests.support.waiting import until

ONE = Question("one", "first", "one plus one", facts=(("two",),))
TWO = Question("two", "second", "Write f", language="python", run="assert f() == 2")
F = "```python\ndef f():\n    return 2\n```"


def template(preamble="", **fields):
    return PromptTemplate("T", "Human:", "Assistant:", "\n\n", preamble, **fields)


def assistants(engine, *names):
    return {name: Assistant(engine, template(f"{name}.\n"), max_new_tokens=500) for name in names}


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
    failing = FakeEngine([[EngineError("Out of memory.")]])
    for question in (
        *unchecked_questions(["What is 1 + 1?"]),
        TWO,
    ):  # nothing would have judged them
        (failed,) = evaluate(assistants(failing, "p"), [question], 1)
        assert (failed.error, failed.right) == ("Out of memory.", None)


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
    until(lambda: engine.active == [])
    assert len(engine.requests) < 20


# The table


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


# The job of a page


def job(engine, names="pq", questions=(ONE,), seeds=1, **options):
    templates = {name: template(f"{name}.\n") for name in names}
    return Comparison(engine, templates, questions, seeds, max_new_tokens=100, **options)


@pytest.mark.parametrize("wait_s", [0, 0.1, 5])
def test_a_job_gives_every_result_and_keeps_them_in_order(wait_s):
    engine = FakeEngine("It is two.")
    work = job(engine, questions=[TWO, ONE], seeds=2, wait_s=wait_s)
    assert work.planned == 8 and engine.requests == [] and work.results == []
    results = [result for result in work if result]
    assert len(results) == 8 and set(map(id, results)) == set(map(id, work.results))
    assert [(r.question.key, r.prompt, r.seed) for r in work.results] == [
        (key, prompt, seed) for key in ("two", "one") for prompt in "pq" for seed in (0, 1)
    ]
    engine.adapter = "lora · 0123"
    document = json.loads(to_json(work.results, work.assistants, work.seeds, False))
    assert (document["model"], document["adapter"]) == ("fake", "lora · 0123")


def test_a_job_leaves_slots_to_others_and_pins_nothing():
    go = threading.Event()
    engine = FakeEngine(["a", go], slots=4)
    with closing(job(engine, seeds=5)) as work:
        until(lambda: next(work) is None and len(engine.active) == 2)
        assert next(work) is None and len(engine.active) == 2 and engine.pinned == []
        go.set()
        assert sum(result is not None for result in work) == 10
    assert engine.active == []


def test_closing_a_job_cancels_it_from_any_thread():
    never = threading.Event()
    engine = FakeEngine(lambda request: ["a"] if len(engine.requests) == 1 else ["b", never])
    work = job(engine, seeds=10, wait_s=5)
    assert next(work) and len(work.results) == 1
    reader = threading.Thread(target=list, args=(work,))  # its next() may hold the stream just now
    reader.start()
    work.close()
    reader.join(30)
    assert not reader.is_alive() and len(engine.requests) < 20
    until(lambda: engine.active == [])
    assert len(work.results) == 1
    work.close()


def test_a_full_engine_is_asked_again(monkeypatch):
    monkeypatch.setattr(evaluate_module, "BUSY_S", 0.01)
    engine = FakeEngine("two", slots=2, queue=0)
    others = [engine.generate(Request((9,), Sampling(), 9)) for _ in range(2)]
    with closing(job(engine, seeds=2)) as work:
        assert [next(work) for _ in range(3)] == [None] * 3
        for other in others:
            other.close()
        assert [result.right for result in work if result] == [True] * 4


def test_closing_while_the_engine_is_full():
    engine = FakeEngine(slots=1, queue=0)
    other = engine.generate(Request((9,), Sampling(), 9))
    work = job(engine)
    assert next(work) is None
    work.close()
    assert engine.requests[1:] == [] and list(work) == []
    other.close()


def test_an_engine_that_dies_ends_a_job():
    work = job(FakeEngine([EngineDead("The engine has stopped.")]))
    with pytest.raises(EngineDead):
        list(work)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"names": ""}, "prompt templates must be from 1 to 4, not 0"),
        ({"names": "pqrst"}, "prompt templates must be from 1 to 4, not 5"),
        ({"questions": []}, "questions must be from 1 to 60, not 0"),
        ({"questions": [ONE] * 61}, "questions must be from 1 to 60, not 61"),
        ({"seeds": 0}, "seeds must be from 1 to 10, not 0"),
        ({"seeds": 11}, "seeds must be from 1 to 10, not 11"),
        ({"seeds": "2"}, "seeds must be from 1 to 10, not '2'"),
        ({"seeds": 2.5}, "seeds must be from 1 to 10, not 2.5"),
        ({"questions": [ONE] * 60, "seeds": 4}, "replies in all must be from 1 to 400, not 480"),
    ],
)
def test_a_job_that_is_too_large_is_refused(options, words):
    engine = FakeEngine()
    with pytest.raises(RequestError, match=f"The number of {words}"):
        job(engine, **options)
    assert engine.requests == []
    assert job(engine, seeds=2.0).planned == 4  # a slider's number


def test_a_job_with_a_template_that_does_not_fit():
    with pytest.raises(TemplateError, match="lacks: <|user|>"):
        Comparison(FakeEngine(), {"p": load_template("starchat")}, [ONE], 1)


def test_typed_questions_are_asked_and_not_judged():
    questions = unchecked_questions(["\nWhat is 1 + 1? ", "And 2?\nPlease."])
    assert [question.ask for question in questions] == ["What is 1 + 1?", "And 2?\nPlease."]
    results = [result for result in job(FakeEngine("two"), questions=questions) if result]
    assert len(results) == 4
    assert all(r.right is None and r.faults == () and r.checks.stopped for r in results)
    with pytest.raises(TextError, match="empty"):
        unchecked_questions(["a", " "])


# Figures, votes, files


def result(prompt, text="t", seed=0, question=ONE, **fields):
    fields = {"checks": check(text, "stop"), "reason": "stop", "tokens": 5} | fields
    return Result(prompt, question, seed, text, **fields)


def test_figures_are_plain_numbers():
    results = [
        result("p", right=True, tokens=4),
        result("p", right=False, tokens=6, seed=1),
        result("q", right=None),
        Result("q", ONE, 1, right=False, error="Out of memory."),
    ]
    rows = {row.label: row for row in figures(results, ["p", "q", "r"])}
    assert rows["first"].values == (0.5, 0.0, None) and rows["first"].counts == (2, 1, 0)
    assert rows["ended by itself"].values == (1.0, 1.0, None)
    assert rows["Python parses"].values == (None, None, None)
    assert rows[LENGTH].values == (5, 5, None) and rows[LENGTH].counts == (2, 1, 0)
    assert list(rows) == ["first", "all areas", *CHECKS.values(), LENGTH]


def many(seeds=20):
    return [result(p, f"{p}{seed}", seed) for p in "pqr" for seed in range(seeds)]


def test_pairs_are_blind_and_drawn_by_a_seed():
    drawn = pairs(many(), "p", "q", 3)
    assert drawn == pairs(many()[::-1], "p", "q", 3) != pairs(many(), "p", "q", 4)
    assert len(drawn) == 20
    for pair in drawn:
        assert {pair.first.prompt, pair.second.prompt} == {"p", "q"}
        assert pair.first.seed == pair.second.seed
    assert 1 < sum(pair.first.prompt == "p" for pair in drawn) < 19
    assert [pair.first.seed for pair in drawn] != list(range(20))


def test_pairs_leave_out_what_cannot_be_compared():
    results = [
        result("p", "same"),
        result("q", "same"),
        result("p", "only here", 1),
        result("p", seed=2),
        result("q", seed=2, error="Out of memory."),
        result("p", "a", 3),
        result("q", "b", 3),
    ]
    (pair,) = pairs(results, "p", "q", 0)
    assert {pair.first.text, pair.second.text} == {"a", "b"}
    assert pairs(results, "p", "p", 0) == [] == pairs([], "p", "q", 0)


def test_votes_are_counted_for_the_prompt_behind_the_side():
    drawn = pairs(many(), "p", "q", 3)
    votes = ["first" if pair.first.prompt == "q" else "second" for pair in drawn[:12]]
    tallied = tally(drawn, [*votes, "tie", "tie", "nonsense"])
    assert tallied == Tally({"p": 0, "q": 12}, 2)
    assert repr(tally(drawn, votes[:1]).wins) in ("{'q': 1, 'p': 0}", "{'p': 0, 'q': 1}")
    assert tally(drawn, []) == Tally({}, 0)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "=HYPERLINK(1)\nx"])
def test_a_cell_is_no_formula(text):
    evil = Question("k", "=area", f"{text}?")
    (row,) = csv.DictReader(io.StringIO(to_csv([result(text, text, question=evil)]), newline=""))
    assert row["text"] == row["prompt"] == f"'{text}" and row["ask"] == f"'{text}?"
    assert row["area"] == "'=area"
    assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("text", ["a=1", " =1", "1", "", "'=1"])
def test_other_cells_are_as_they_were(text):
    (row,) = csv.DictReader(io.StringIO(to_csv([result("p", text)]), newline=""))
    assert row["text"] == text


# The command


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
    assert len((tmp_path / "r.csv").read_text("utf-8").splitlines()) == 2
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
    command = [sys.executable, "-m", "assistant.evaluation", "eval", "--device", "cpu"]
    command += ["--model", tiny_checkpoint, "--questions", tmp_path / "small.toml"]
    command += ["--prompt", tmp_path / "one.toml", "--prompt", tmp_path / "two.toml"]
    command += ["--seeds", "2", "--max-new-tokens", "8", "--json", tmp_path / "r.json"]
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "ascii"}  # the table has –
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environ)
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
