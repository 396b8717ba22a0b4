"""make gpu: its parts on a CPU with small shapes, and what becomes of parts that fail or hang."""

import dataclasses
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import torch

from assistant.engine.local import engine, proof
from assistant.engine.model import kernels
from assistant.paths import ROOT
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import bounded, card, chats, inside, starcoder, steps, texts
from benchmarks.gpu import kernels as operations
from benchmarks.gpu.place import Part, Place, opened
from benchmarks.gpu.weights import geometry, random_module
from tests.engine.model.test_kernels import version
from tests.engine.test_card import H100, T4
from tests.support.card import KERNELS as card_kernels
from tests.support.card import pretended
from tests.support.engines import read
from tests.support.gpu_parts import dying, failing, hanging, look, no_card, right, short, wrong
from tests.support.waiting import until


def run(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
    )


def only(names):
    return [argument for name in names for argument in ("--only", name)]


# -- its parts ------------------------------------------------------------------------------------

QUICK = [part.name for part in command.PARTS if part.name != "peers"]
if find_spec("triton") is None or (version("triton") < (3, 7) and version("numpy") >= (2, 4)):
    QUICK.remove("kernels")  # as in test_kernels.py


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    results = tmp_path_factory.mktemp("gpu") / "RESULTS.md"
    results.write_text("# Results\n")
    arguments = ("--device", "cpu", "--results", results, *only(QUICK))
    return run(*arguments, "--seconds", 1500), results.read_text()


@pytest.mark.timeout(1500)
def test_all_parts_run_on_a_cpu(done):
    process, results = done
    assert process.returncode == 0, process.stdout + process.stderr
    rows = [row.split(" | ") for row in results.splitlines()]
    summary = {row[0].removeprefix("| "): row[1] for row in rows[-len(QUICK) :]}
    assert list(summary) == QUICK and set(summary.values()) == {"held", "measured"}
    assert [name for name, state in summary.items() if state == "held"] == [
        name for name in QUICK if name not in ("syncs", "starcoder", "chats")
    ]
    for name in QUICK:
        assert any(row[0] == f"| {name}" and len(row) == 4 for row in rows), name


@pytest.mark.timeout(1500)
def test_results_say_where_and_when(done):
    process, results = done
    assert results.startswith(f"# Results\n\n## CPU, {time.strftime('%Y-')}")
    assert f"torch {torch.__version__}" in results and "transformers 5" in results
    assert process.stdout.count("held") > 20 and "FAILED" not in process.stdout


@pytest.mark.soak
def test_transformers_own_engines_are_measured_beside_ours(tmp_path):
    process = run("--device", "cpu", "--only", "peers", "--results", tmp_path / "R.md")
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.count("tokens/s; to the first token") == 4  # once more in the summary


def test_without_a_card_it_is_one_sentence(tmp_path):
    results = tmp_path / "RESULTS.md"
    process = run("--results", results, CUDA_VISIBLE_DEVICES="")
    assert process.returncode == 1 and not results.exists()
    (sentence,) = process.stdout.splitlines()
    assert sentence.startswith("--device cuda cannot be used: ") and sentence.endswith(".")
    assert not process.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_needs_no_environment_of_its_own():
    done = subprocess.run(
        ["make", "--dry-run", "gpu", "PYTHON=some-python", "ARGS=--only card"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()  # make called by make also says which folder it enters
    assert "some-python -m benchmarks.gpu --only card" in lines
    assert ".venv" not in done.stdout


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_turns_a_1_into_a_2_and_adds_nothing_to_the_sentence(tmp_path):
    done = subprocess.run(
        ["make", "-s", "gpu", f"PYTHON={sys.executable}", f"ARGS=--results {tmp_path / 'R.md'}"],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    (sentence,) = done.stdout.splitlines()
    assert done.returncode == 2 and sentence.startswith("--device cuda cannot be used: ")
    assert len(done.stderr.splitlines()) == 1  # make's own


def test_it_needs_neither_the_webs_packages_nor_the_tests():
    modules = {part.run.split(":")[0] for part in (command.LOOK, *command.PARTS)}
    code = f"import sys, {', '.join(sorted(modules))}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & {"gradio", "fastapi", "uvicorn", "pydantic", "pytest", "hypothesis"}


# -- parts that fail, hang and die ----------------------------------------------------------------


def part(function, seconds=60, **options):
    return Part(function.__name__, f"{function.__module__}:{function.__name__}", seconds, **options)


def run_all(tmp_path, monkeypatch, parts, seconds=60, look=look):
    """The exit code, and the file's last rows, one for each of `parts`."""
    monkeypatch.setattr(command, "LOOK", part(look))
    results = command.Results(tmp_path / "RESULTS.md")
    end = time.monotonic() + seconds
    code = command.run_all(parts, "cpu", end, results, tmp_path)
    rows = results.path.read_text().splitlines() if results.path.exists() else []
    return code, [row.removeprefix("| ").split(" | ") for row in rows[-len(parts) :]]


@pytest.mark.parametrize(
    ("function", "state", "told"),
    [
        (wrong, "failed", "two: not 2"),
        (failing, "failed", "ValueError('it cannot')"),
        (dying, "failed", f"its process ended with -{signal.SIGSEGV.value}"),
        (hanging, "timed out", "one: "),
    ],
)
def test_what_goes_wrong_is_said_and_the_next_part_runs(
    tmp_path, monkeypatch, capsys, function, state, told
):
    code, rows = run_all(tmp_path, monkeypatch, [part(function, 15), part(right)])
    assert code == 1
    assert [row[:2] for row in rows] == [[function.__name__, state], ["right", "held"]]
    assert told in rows[0][-1]
    said = capsys.readouterr().out
    if function is failing:
        assert "what it wrote" in said and "Traceback" in said
    if function in (hanging, dying):
        assert f"in {function.__name__}" in said  # where it was
    if function is hanging:  # what it has started is ended, too
        number = int(re.search(r"one: (\d+)", rows[0][-1])[1])
        until(lambda: not psutil.pid_exists(number) or psutil.Process(number).status() == "zombie")


def test_all_held_is_0_and_a_bar_in_a_text_is_no_column(tmp_path, monkeypatch):
    code, rows = run_all(tmp_path, monkeypatch, [part(right)])
    assert code == 0 and rows[0][:2] == ["right", "held"]
    assert "| right | one | 1 / 2 | yes |" in (tmp_path / "RESULTS.md").read_text()


@pytest.mark.parametrize(
    ("checks", "state", "expected"), [(True, "no time", 1), (False, "left out", 0)]
)
def test_when_the_time_is_over_no_part_begins(tmp_path, monkeypatch, checks, state, expected):
    parts = [part(right, checks=checks)]
    code, rows = run_all(tmp_path, monkeypatch, parts, seconds=0)
    assert (code, rows[0][1]) == (expected, state)


@pytest.mark.parametrize(
    ("checks", "state", "expected"), [(True, "no time", 1), (False, "measured", 0)]
)
def test_a_part_whose_time_is_over_within_is_not_held(
    tmp_path, monkeypatch, checks, state, expected
):
    code, rows = run_all(tmp_path, monkeypatch, [part(short, checks=checks)])
    assert (code, rows[0][1]) == (expected, state)
    assert rows[0][-1].startswith("two: not tried: the time was over")


def test_no_card_is_a_sentence_and_1(tmp_path, monkeypatch, capsys):
    code, rows = run_all(tmp_path, monkeypatch, [part(right)], look=no_card)
    assert (code, rows) == (1, []) and capsys.readouterr().out == "There is no card.\n"


def test_a_missing_package_is_named_with_the_next_step():
    sentence = bounded._sentence(ModuleNotFoundError("No module", name="torch"))
    assert "has no torch" in sentence and "PYTHON=" in sentence


# -- parts that would see what they are for -------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(
        engine, "try_elsewhere", engine.try_elsewhere
    )  # what a part sets does not stay
    return Place("cpu", time.monotonic() + 60, tmp_path)


@pytest.fixture
def few(place):
    with steps.few_layers(place, "float32") as few:
        yield few


def test_a_compiler_that_hangs_is_said_before_its_part_is_ended(
    place, tiny_checkpoint, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        proof, "try_elsewhere", lambda model, deadline_s: asked.append(deadline_s) or {}
    )
    loading = functools.partial(card.loading, place, tiny_checkpoint, "float32")
    monkeypatch.setattr(card, "loading", lambda *given: loading())
    with pretended():
        lines = card.card(place)
        assert next(lines).promise == "the embedded model opens"
        lines.close()
    (part,) = (part for part in command.PARTS if part.name == "card")
    assert asked == [card.TRIAL_S] and part.seconds - 30 >= card.TRIAL_S


@pytest.fixture
def broken():
    """A CPU that is taken for a card, whose kernels fail; gives what that does as to the card."""

    def fails(*given):
        raise RuntimeError("CUDA error")

    with pretended(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "add_norm", fails)
        yield functools.partial(patch.setattr, "assistant.engine.card.at")


@pytest.mark.parametrize(("here", "held"), [(H100, False), (T4, True)])
def test_an_engine_that_leaves_something_out_is_not_what_a_part_is_for(
    place, tiny_checkpoint, broken, here, held
):
    """Unless the card is one that has no kernels."""
    broken(lambda device: here)
    with opened(card.loading(place, tiny_checkpoint, "float32")) as engine:
        line = inside.computes_in(engine, "float32")
    assert line.promise == "float32: it computes in" and line.held is held
    assert line.measured == "float32, plain operations" + (
        ", as the card has no kernels" if held else "; not in kernels, graphs"
    )


PATHS = {
    card.card: "the embedded model",
    texts.small: "tiny, float32",
    texts.greedy: "guessing",
    steps.graphs: "float32",
    starcoder.starcoder: "bfloat16",
    steps.syncs: "guessing",
}


@pytest.mark.parametrize("part", PATHS)
def test_a_part_does_not_hold_without_what_it_is_for(
    place, tiny_checkpoint, broken, monkeypatch, part
):
    broken(lambda device: H100)
    load = functools.partial(card.loading, place, tiny_checkpoint, "float32")
    for module in (card, texts):
        monkeypatch.setattr(module, "loading", lambda *given: load())
    monkeypatch.setattr(texts, "tiny", lambda place: tiny_checkpoint)
    lines = part(place)
    line = next(line for line in lines if line.promise == f"{PATHS[part]}: it computes in")
    lines.close()
    assert line.held is False and line.measured.endswith("; not in kernels, graphs")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_captured_steps_are_those_that_are_compared(place, dtype):
    """On a CPU that is taken for a card."""
    random_module(geometry(place, slots=1), "cpu")  # transformers is loaded before that
    with (
        pretended(),
        steps.few_layers(place, dtype) as (engine, vocabulary),
        torch.inference_mode(),
    ):
        assert inside.graphs(engine) == [1, 2, 4, 8, 16, 20]
        assert engine.numerics.endswith("kernels, graphs")
        inside.kv(engine).normal_()
        for count in steps.ROWS:
            most = steps.FARTHEST[dtype]
            assert steps._graph(engine, count, vocabulary, dtype, most).held
        graph = next(graph for rows, *_, graph in engine._scheduler.decode_step.graphs if rows == 4)
        graph.replay = lambda: None
        assert not steps._graph(engine, 3, vocabulary, dtype, most).held


@torch.inference_mode()
def test_what_captured_steps_are_compared_with_has_no_kernels(place):
    random_module(geometry(place, slots=1), "cpu")  # transformers is loaded before that
    with (
        pretended(),
        pytest.MonkeyPatch.context() as patch,
        steps.few_layers(place, "int8") as (engine, vocabulary),
    ):
        found = kernels.path
        assert found == kernels.Path(True, True, True)
        inside.kv(engine).normal_()
        for name in card_kernels:
            patch.setattr(kernels, name, None)
        inside.plain_logits(engine, [3, 5])
        assert kernels.path is found
        assert steps._graph(engine, 2, vocabulary, "int8", steps.FARTHEST["int8"]).held


@torch.inference_mode()
def test_a_step_that_differs_or_writes_elsewhere_is_seen(few, monkeypatch):
    engine, vocabulary = few
    draw = engine._scheduler.decode_step
    inside.kv(engine).normal_()
    assert steps._graph(engine, 3, vocabulary, "float32", 1e-3).held
    plain, decode = inside.plain_logits, draw.decode
    with monkeypatch.context() as patch:
        patch.setattr(inside, "plain_logits", lambda *of: plain(*of) + torch.eye(3, vocabulary))
        assert not steps._graph(engine, 3, vocabulary, "float32", 1e-3).held

    def careless(rows, **options):
        inside.kv(engine)[0, 5, 7] += 1
        return decode(rows, **options)

    monkeypatch.setattr(draw, "decode", careless)
    line = steps._graph(engine, 3, vocabulary, "float32", 1e-3)
    assert not line.held and "other slots" in line.measured


@pytest.mark.filterwarnings("ignore:called a synchronizing")
def test_a_call_that_waits_in_a_step_is_named(few, monkeypatch):
    engine, _ = few
    model = engine._scheduler.model
    decode = model.decode

    def waiting(*given):
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        return decode(*given)

    requests = [texts.request((30, 40), engine.window - 10)]
    assert not steps._waits(engine, requests)
    monkeypatch.setattr(model, "decode", waiting)
    found = steps._waits(engine, requests)
    assert set(found) == {f"{Path(__file__).name}:{waiting.__code__.co_firstlineno + 1}"}
    monkeypatch.undo()
    assert len(read(engine.generate(texts.request((30, 40), 5)))[1]) == 5


@pytest.mark.parametrize("part", [chats.chats, chats.peers])
def test_what_there_is_no_time_for_is_not_measured(place, part):
    *_, last = part(dataclasses.replace(place, ends=time.monotonic() + chats.NEXT_S))
    assert last.measured == "not measured: the time was over" and last.held is None


@pytest.mark.parametrize(
    ("cases", "in_time", "told", "held"),
    [
        ([True] * 3, 3, "3 of 3 tried, right (", True),
        ([True] * 3, 2, "2 of 3 tried, nothing wrong in those: the time was over (", None),
        ([True] * 3, 0, "not tried: the time was over", None),
        ([True, False, True], 3, "3 of 3 tried, (False,): it is off (", False),
        ([True, False, True], 2, "2 of 3 tried, (False,): it is off (", False),
    ],
)
def test_a_check_that_is_cut_short_is_not_right(place, monkeypatch, cases, in_time, told, held):
    called = []

    def a_check(right):
        called.append(right)
        assert right, "it is off"

    left_s = [100] * in_time + [0] * 3
    monkeypatch.setattr(Place, "left_s", property(lambda place: left_s.pop(0)))
    line = operations._tried(place, a_check, [(case,) for case in cases])
    assert line.measured.startswith(told) and line.held is held and line.promise == "a check"
    assert called == cases[:in_time]


@pytest.mark.parametrize(("here", "held"), [(T4, True), (H100, False)])
def test_kernels_that_lack_something_are_not_launched(place, monkeypatch, here, held):
    """Which is no fault of a card that can have none."""
    monkeypatch.setattr("assistant.engine.card.at", lambda device: here)
    monkeypatch.setattr(operations, "why_no_kernels", lambda device: "this and that")
    (line,) = operations.kernels(dataclasses.replace(place, device="cuda"))
    assert line.held is held
    said = "none, as this card has none: this and that" if held else "this and that"
    assert line.measured == said


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda ids: ids, None),
        (lambda ids: ids[:3], "ends after 3 of 12"),
        (lambda ids: [*ids[:2], (ids[2] + 1) % 384, *ids[3:]], "parts at token 2"),
    ],
)
def test_a_text_that_is_not_the_oracles_is_seen(tiny_checkpoint, given, told):
    oracle = texts.Oracle(tiny_checkpoint, 12)
    ids = texts.prompts(1)
    expected = [oracle(one) for one in ids]
    line = texts._compared("text", oracle, ids, expected, [given(one) for one in expected])
    assert line.held is (told is None) and (told or "the same") in line.measured
