"""The benchmarks: the arithmetic that turns times into figures, and each script at a tiny size."""

import importlib
import shutil
import subprocess
import sys
import threading
import time

import pytest
from transformers import GPTBigCodeConfig

from benchmarks import apart, machine, promises, report
from benchmarks.apart import PEERS_PYTHON, ROOT, Apart, open_each
from benchmarks.models import make_random
from benchmarks.samples import Measure, Samples, in_turn
from benchmarks.sizes import kv_values, read_config, streamed_weights
from benchmarks.speed import share
from benchmarks.start import processor
from benchmarks.timeline import Reply, decode_rate, gaps, interval, percentile
from tests.support.browser import NAMES
from tests.support.checkpoints import make_checkpoint
from tests.support.engines import load_module
from tests.test_imports import MODULES, imports


def reply(*times):
    return Reply(list(range(len(times))), list(times))


def test_the_decode_rate_counts_only_while_all_decode():
    alone = reply(1.0, 1.5, 2.0)
    assert decode_rate([alone]) == 2
    late = reply(1.5, 1.75, 2.0, 2.25)
    assert decode_rate([alone, late]) == (1 + 2) / 0.5
    assert decode_rate([alone, reply(3.0, 4.0)]) is None


def test_gaps_are_those_that_touch_the_span():
    stalled = reply(0.0, 1.0, 5.0, 6.0)
    assert gaps([stalled]) == [1, 4, 1]
    assert gaps([stalled], 2.0, 3.0) == [4]


@pytest.mark.parametrize("part, value", [(0, 1), (0.5, 3), (0.99, 4), (1, 4)])
def test_percentiles(part, value):
    assert percentile([4, 2, 1, 3], part) == value
    assert percentile([], part) is None


@pytest.mark.parametrize(
    "count, places",
    [(1, (0, 0)), (5, (0, 4)), (6, (0, 5)), (9, (1, 7)), (10, (1, 8)), (20, (5, 14))],
)
def test_the_interval_of_a_median(count, places):
    """By the sign test: of ten values the second and the ninth, with 97.9 %."""
    assert interval(range(count)) == places


def test_the_weights_that_a_step_reads(tiny_checkpoint):
    module = load_module(tiny_checkpoint)
    matrices = {n: p for n, p in module.named_parameters() if p.dim() == 2 and "wpe" not in n}
    expected = sum(p.numel() for p in matrices.values())
    assert streamed_weights(module.config) == expected
    assert streamed_weights(read_config(tiny_checkpoint)) == expected


def test_the_share_of_the_bandwidth():
    """StarCoder in bfloat16: 30.9 GB a step, and 20 KiB of KV for each token of context."""
    config = GPTBigCodeConfig(n_layer=40, n_embd=6144, n_head=48, n_inner=24576, vocab_size=49152)
    assert 2 * kv_values(config) == 20 * 1024

    class Contender:
        weight_bytes, kv_bytes = 2 * streamed_weights(config), 2 * kv_values(config)

    assert Contender.weight_bytes == pytest.approx(30.93e9, rel=1e-3)
    one, many = (share(Contender, (batch, 6000), 10, 3e12) for batch in (1, 64))
    assert one == pytest.approx(10 * 31.05e9 / 3e12, rel=1e-3)
    assert many < one / 40  # the weights are read once for all


@pytest.mark.parametrize("there", ["", "## Speed\n\nold\n\n"])
def test_a_section_is_added_or_replaced(tmp_path, there):
    path = tmp_path / "RESULTS.md"
    path.write_text(f"# Results\n\n{there}## Soak\n\nfine\n")
    for text in ("first", "second"):
        report.write_section("Speed", text, path)
    sections = path.read_text().split("## ")
    assert sorted(sections) == [
        "# Results\n\n",
        "Soak\n\nfine\n" + "\n" * (not there),
        "Speed\n\nsecond\n" + "\n" * bool(there),
    ]


@pytest.mark.parametrize(
    "text, name, flags",
    [
        (
            "processor : 0\nmodel name\t: Intel(R) Xeon(R) Processor\n"
            "flags\t\t: fpu avx2 avx512f amx_bf16\n",
            "Intel Xeon Processor",
            ["amx_bf16", "avx512f", "avx2"],
        ),
        ("model name : AMD EPYC\nflags : avx2\n", "AMD EPYC", ["avx2"]),
        ("Features\t: fp asimd asimddp bf16\nCPU part : 0xd40\n", None, ["bf16", "asimddp"]),
        (None, None, []),
    ],
)
def test_the_processor_is_named(tmp_path, text, name, flags):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    found, has = processor(path)
    assert has == flags and found and found == (name or found)


def test_what_is_left_in_company_and_against_an_older_checkout():
    samples, rate, time_ms = Samples(), Measure("speed", more=True, digits=1), Measure("ms")
    for n in range(10):
        samples.add(rate, "ours", "quiet", 100 + n)
        samples.add(rate, "old", "quiet", 50 + n / 2)
        samples.add(rate, "ours", "busy", 50 + n / 2)
        samples.add(rate, "old", "busy", None)
        samples.add(time_ms, "ours", "quiet", 30)
        samples.add(time_ms, "ours", "busy", 40)
    rows = [row.split(" | ") for row in samples.table(["quiet", "busy"]).splitlines()]
    assert [rows[2][n] for n in (0, 2, 3, 4, 5)] == ["| speed", "ours", "104.5", "52.2", "50% |"]
    assert rows[3][3:] == ["52.2", "", " |"]
    assert rows[4][3:] == ["30", "40", "75% |"]
    del samples.values[time_ms, "ours", "quiet"], samples.values[time_ms, "ours", "busy"]
    rows = [row.split(" | ") for row in samples.versus("ours", "old").splitlines()]
    assert len(rows) == 3
    assert rows[2][2:] == ["quiet", "2.00", "2.00 to 2.00", "10 |"]


def test_contenders_take_turns():
    assert [in_turn("ab", n) for n in range(3)] == ["ab", "ba", "ab"]


# -- processes: how their threads wait is read when torch is loaded ---------------------------


@pytest.mark.parametrize("name", ["contenders", "engine", "api"])
def test_ours_imports_the_assistant_before_torch(name):
    code = f"""
import sys, importlib
class Watch:
    def find_spec(self, name, path=None, target=None):
        assert name != "torch" or "assistant" in sys.modules
sys.meta_path.insert(0, Watch())
importlib.import_module("benchmarks.{name}")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name, never",
    [
        ("with_transformers", {"assistant", "tests"}),
        ("peers", {"assistant", "tests", "torch", "transformers"}),
    ],
)
def test_the_others_import_nothing_of_the_assistant(name, never):
    reached, left = set(), {f"benchmarks.{name}"}
    while left:
        module = left.pop()
        reached.add(module)
        left |= imports(module, MODULES.get(module, ""), MODULES) - reached
    assert not never & {module.partition(".")[0] for module in reached}


def test_each_process_says_itself_how_its_threads_wait(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")  # as if the assistant were imported here
    code = "import json, os; print(json.dumps({'told': os.environ.get('GOMP_SPINCOUNT')}))"
    other = Apart(sys.executable, "-c", code)
    assert other.told is None and other.about == ""
    other.close()


def test_a_contender_that_is_not_there_is_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(apart, "PEERS_PYTHON", tmp_path / "python")
    found = open_each({"a": lambda: Apart.llama_cpp("x"), "b": lambda: threading.local()})
    assert [one.name for one in found] == ["b"]
    assert capsys.readouterr().out == "a is not measured: `make bench-peers` installs it.\n"


# -- each script, at a tiny size --------------------------------------------------------------

SLOW = pytest.mark.timeout(600)  # processes that import torch, on a machine that is busy


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a tiny checkpoint with a long window."""
    return str(make_checkpoint(tmp_path_factory.mktemp("bench") / "tiny", n_positions=8192))


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a script, without waiting for a quiet machine; gives the cells of its tables' rows."""
    monkeypatch.setattr(machine, "TRIES", 1)
    monkeypatch.setattr(machine, "PATIENCE", 0)

    def run(name, *arguments):
        module = importlib.import_module(f"benchmarks.{name}")
        if hasattr(module, "in_process"):  # the bandwidth, which takes seconds
            monkeypatch.setattr(module, "in_process", lambda *_: 1e9)
        module.main([str(argument) for argument in arguments])
        lines = capsys.readouterr().out.splitlines()
        return [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]

    return run


def test_a_random_model_writes_text(tmp_path):
    from assistant.engine.tokenizer import load_tokenizer

    folder = make_random(str(tmp_path), {"n_layer": 1, "n_embd": 64, "n_head": 2,
                                         "n_positions": 64, "vocab_size": 500})  # fmt: skip
    tokenizer = load_tokenizer(folder)
    assert len(tokenizer) == 500 and folder.name == "164m"
    assert tokenizer.decode([499, 450]) == " w499 w450"
    assert tokenizer.encode(" w499") != [499]  # it is written, never read


@SLOW
def test_start(run, model):
    rows = run("start", "--repeat", 1, "--", "--model", model, "--max-new-tokens", 8)
    times = {name: float(median) for name, median, _ in rows[2:]}
    assert {"model", "preamble", "page", "in all, to the first token"} <= times.keys()
    assert times["in all, to the first token"] > times["model"] > 0


@SLOW
def test_serve(run, model):
    small = ("--chats", 1, 2, "--rounds", 1, "--repeat", 1)
    rows = run("serve", "--model", model, *small, "--", "--max-new-tokens", 8)
    assert [row[0] for row in rows[2:]] == ["1", "2"]
    assert all(float(row[-1]) > 0 for row in rows[2:])


@SLOW
def test_api(run, model):
    rows = run("api", "--model", model, "--streams", 1, 2, "--tokens", 8, "--repeat", 2)
    assert [row[0] for row in rows[2:4]] == ["1", "2"]


@SLOW
def test_engine(run, model, monkeypatch):
    for name in ("CONTEXT", "HISTORY", "NEWCOMER"):
        monkeypatch.setattr(promises, name, 40)
    small = ("--batch", 1, 2, "--context", 16, "--new-tokens", 8, "--repeat", 1)
    rows = run("engine", "--model", model, "--dtype", "float32", *small)
    names = ["ours float32", "generate", "continuous batching"]
    assert rows[0][3:6] == names
    assert [row[1:3] for row in rows[2:4]] == [["1", "16"], ["2", "16"]]
    assert "not measured" not in rows[2][3:6]
    lines = {row[0]: row[1] for row in rows[8:]}
    assert lines["greedy ids of continuous batching equal those of generate"] == "100 of 100"


@SLOW
def test_company(run, model):
    small = ("--repeat", 1, "--prompts", 24, 48, "--new-tokens", 20)
    rows = run("company", "--model", model, "--part", "engine", "start", *small)
    ours = [[row[0], *row[3::2]] for row in rows if row[2] == "ours"]
    assert [row[0] for row in ours] == [
        "decode, tokens/s",
        "prefill of 24, ms",
        "prefill of 48, ms",
        "start to first token, s",
    ]
    assert all(cell for row in ours for cell in row)
    assert bool([row for row in rows if row[2] == "llama.cpp q8_0"]) == PEERS_PYTHON.exists()


@SLOW
@pytest.mark.skipif(not any(map(shutil.which, NAMES)), reason="no Chromium is installed")
def test_company_of_a_page(run, model):
    rows = run("company", "--model", model, "--part", "page", "--repeat", 1, "--new-tokens", 20)
    assert [row[0] for row in rows[2:]] == ["four questions, tokens/s", "the same, first token, ms"]
    assert all(cell for row in rows[2:] for cell in row)


@SLOW
def test_attribution(monkeypatch, capsys):
    from benchmarks import attribution

    monkeypatch.setattr(attribution, "COUNT", 3)
    attribution.main()
    assert "| 3 copies, re-wrapped: right file and lines | 3 |" in capsys.readouterr().out


@SLOW
@pytest.mark.skipif(not PEERS_PYTHON.exists(), reason="make bench-peers has not been run")
def test_llama_cpp_computes_the_same(tiny_checkpoint):
    module = load_module(tiny_checkpoint)
    contender = Apart.llama_cpp(tiny_checkpoint, "--type", "f32", "--threads", 1)
    prompts = [[20, 30, 40], [50, 60, 70, 80]]
    try:
        with contender.session(2, 64) as run:
            with pytest.raises(RuntimeError, match="400"):
                run([[20], [10**6]], 2)
            started = time.perf_counter()
            replies = run(prompts, 6)
            took = time.perf_counter() - started
            further = [prompt + one.ids for prompt, one in zip(prompts, replies, strict=True)]
            again = run(further, 1)
    finally:
        contender.close()
    for prompt, one, next_one in zip(prompts, replies, again, strict=True):
        assert one.ids + next_one.ids == greedy(module, prompt, 7)
        assert len(one.times) == 6 and 0 < one.times[0] <= one.times[-1] <= took
    assert contender.about.endswith("1 threads")


def greedy(module, prompt, count):
    import torch

    ids = list(prompt)
    for _ in range(count):
        with torch.inference_mode():
            ids.append(int(module(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]
