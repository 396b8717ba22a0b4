"""What a card gets wrong is left out at load: injected failures of each step, on a CPU that is
taken for a card. Each ends in a program that answers rightly, says what it computes on, and one
line of the log."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch

from assistant.engine.checkpoint import shapes
from assistant.engine.local import proof, trial
from assistant.engine.model import kernels
from assistant.engine.model.config import Config
from assistant.errors import CheckpointError
from tests.engine.local.test_cuda import open_card
from tests.engine.local.test_engine import PROMPTS, module, oracle  # noqa: F401
from tests.support import card
from tests.support.card import pretended
from tests.support.engines import greedy, read
from tests.support.waiting import until

CPU = torch.device("cpu")
BROKEN = RuntimeError("CUDA error: operation not permitted\nmore lines")


def fails(kernel):
    def compute(*given, **named):
        raise BROKEN

    return compute


def not_finite(kernel):
    def compute(*given):
        out = kernel(*given)
        (out[1] if isinstance(out, tuple) else out)[-1] = torch.nan
        return out

    return compute


def is_off(kernel):
    def compute(*given):
        out = kernel(*given)
        return (out[0], out[1].flip(-1)) if isinstance(out, tuple) else out.flip(-1)

    return compute


HOW = {fails: "RuntimeError: CUDA error: operation not permitted", not_finite: "not finite"}
HOW |= {is_off: "are off by"}


@contextlib.contextmanager
def opened(folder, module, kind=None, *, ask=lambda model: {}, break_=lambda patch: None):  # noqa: F811
    """An engine on a card of which something was broken before, and what it said."""
    said = []
    with pretended(ask=ask) as cuda, pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof.log, "warning", lambda text, *given: said.append(text % given))
        break_(patch)
        engine = open_card(folder, module, CPU, kind)
        engine.cuda = cuda
        yield engine, said
        engine.close()


def serves(engine, oracle):  # noqa: F811
    streams = [engine.generate(greedy(ids, 12)) for ids in PROMPTS[:2]]
    replies = [read(stream)[1] for stream in streams]
    if engine.numerics.startswith("float32"):
        assert replies == [expected[:12] for expected in oracle[:2]]
    assert read(engine.generate(greedy(PROMPTS[0], 12)))[1] == replies[0]


def test_what_is_right_is_used_and_nothing_is_said(tiny_checkpoint, module, oracle):  # noqa: F811
    with opened(tiny_checkpoint, module) as (engine, said):
        assert engine.numerics == "float32, kernels, graphs" and not said
        serves(engine, oracle)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kernel", ["decode_attention", "add_norm"])
def test_a_kernel_that_fails(tiny_checkpoint, module, oracle, kernel, how):  # noqa: F811
    def break_(patch):
        patch.setattr(kernels, kernel, how(card.KERNELS[kernel]))

    with opened(tiny_checkpoint, module, break_=break_) as (engine, said):
        assert engine.numerics == "float32, plain operations"
        (line,) = said
        assert "without kernels" in line and HOW[how] in line
        assert line.endswith("graphs (they need the kernels): they take longer.")
        assert "more lines" not in line
        serves(engine, oracle)


@pytest.mark.parametrize("how", HOW)
def test_an_int8_kernel_that_fails(tiny_checkpoint, module, oracle, how):  # noqa: F811
    def break_(patch):
        patch.setattr(kernels, "int8_linear", how(card.int8_linear))

    with opened(tiny_checkpoint, module, "int8") as (engine, said):
        assert engine.numerics == "int8, int8 kernels, kernels, graphs" and not said
        expected = read(engine.generate(greedy(PROMPTS[0], 12)))[1]
    with opened(tiny_checkpoint, module, "int8", break_=break_) as (engine, said):
        assert engine.numerics == "int8, kernels, graphs"
        (line,) = said
        assert "without int8 kernels (" in line and HOW[how] in line
        serves(engine, oracle)
        assert read(engine.generate(greedy(PROMPTS[0], 12)))[1] == expected


def test_a_tensor_that_a_kernel_would_misread(tiny_checkpoint, module, oracle):  # noqa: F811
    """It is refused in a sentence, which the log has."""
    real = kernels.add_norm

    def break_(patch):
        patch.setattr(kernels, "add_norm", lambda x, *rest: real(x, x.new_ones(9), *rest[1:]))

    with opened(tiny_checkpoint, module, break_=break_) as (engine, said):
        assert engine.numerics == "float32, plain operations"
        assert "ValueError: delta must be float32 [33, 64] on cpu, dense" in said[0]
        serves(engine, oracle)


@pytest.mark.parametrize("when", ["recording", "the second size", "replay"])
def test_a_graph_that_fails(tiny_checkpoint, module, oracle, when):  # noqa: F811
    def break_(patch):
        if when == "replay":
            return patch.setattr(card.Graph, "replay", fails(None))
        graph, recorded = torch.cuda.graph, []

        @contextlib.contextmanager
        def recording(*given, **named):
            with graph(*given, **named):
                yield
            recorded.append(given)
            if len(recorded) == (2 if when == "the second size" else 1):
                raise BROKEN

        patch.setattr(torch.cuda, "graph", recording)

    with opened(tiny_checkpoint, module, break_=break_) as (engine, said):
        assert engine.numerics == "float32, kernels"
        (line,) = said
        assert "without graphs (RuntimeError: CUDA error: operation not permitted)" in line
        assert not engine._scheduler.decode_step.graphs
        serves(engine, oracle)


def test_what_a_step_does_wrong_while_it_is_recorded_is_told(tiny_checkpoint, module, oracle):  # noqa: F811
    """Not what leaving the recording then says."""
    inside = []

    @contextlib.contextmanager
    def recording(graph, pool, stream):
        inside.append(graph)
        try:
            yield
        finally:
            inside.clear()
            raise RuntimeError("CUDA error: due to a previous error")

    def break_(patch):
        decode = proof.DecodeStep._decode
        patch.setattr(torch.cuda, "graph", recording)
        patch.setattr(
            proof.DecodeStep,
            "_decode",
            lambda *given, **how: fails(None)() if inside else decode(*given, **how),
        )

    with opened(tiny_checkpoint, module, break_=break_) as (engine, said):
        assert engine.numerics == "float32, kernels"
        (line,) = said
        assert "without graphs (RuntimeError: CUDA error: operation not permitted)" in line
        serves(engine, oracle)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (lambda logits: logits.fill_(torch.nan), "its logits are not finite"),
        (lambda logits: logits.mul_(3), "its logits are off by 2e+00"),
        (lambda logits: None, "it draws other tokens"),
    ],
    ids=["not finite", "off", "other tokens"],
)
def test_a_graph_whose_numbers_are_wrong(tiny_checkpoint, module, oracle, what, why):  # noqa: F811
    def break_(patch):
        compute = proof.DecodeStep.compute

        def wrong(self, *given, **named):
            tokens, logits = compute(self, *given, **named)
            if self.graphs:
                what(logits)
                tokens = tokens + (why == "it draws other tokens")
            return tokens, logits

        patch.setattr(proof.DecodeStep, "compute", wrong)

    with opened(tiny_checkpoint, module, break_=break_) as (engine, said):
        assert engine.numerics == "float32, kernels"
        (line,) = said
        assert "without graphs (" in line and why in line
        serves(engine, oracle)


def test_memory_that_runs_out_in_a_trial_is_no_fault_of_a_kernel(tiny_checkpoint, module):  # noqa: F811
    def exhausted(*given):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def break_(patch):
        patch.setattr(kernels, "decode_attention", exhausted)

    with (
        pytest.raises(CheckpointError, match="does not fit in memory; give fewer with --slots"),
        opened(tiny_checkpoint, module, break_=break_),
    ):
        pass


def test_a_card_that_breaks_while_it_is_tried_ends_the_start_in_a_sentence(tiny_checkpoint, module):  # noqa: F811
    def break_(patch):
        patch.setattr(kernels, "decode_attention", fails(None))
        patch.setattr(torch.cuda, "synchronize", fails(None))

    with (
        pytest.raises(CheckpointError, match="cpu failed while it was tried .* use --device cpu."),
        opened(tiny_checkpoint, module, break_=break_),
    ):
        pass


# -- the other process ------------------------------------------------------------------------


def test_a_trial_finds_the_memory_free_that_loading_took_for_a_while(
    tiny_checkpoint,
    module,  # noqa: F811
    oracle,  # noqa: F811
):
    done = []

    def break_(patch):
        patch.setattr(torch.cuda, "empty_cache", lambda: done.append("emptied"))

    def ask(model):
        done.append("asked")
        return {}

    with opened(tiny_checkpoint, module, ask=ask, break_=break_) as (engine, _):
        assert done == ["emptied", "asked"]
        serves(engine, oracle)


def program(text):
    """Stands for the trial's process: `text` is Python."""
    return [sys.executable, "-c", f"import sys, time\n{text}"]


# Seconds: 10 are over for what hangs as soon as it does; what ends by itself has all that a busy
# machine needs.
HANGING_S, ENDING_S = 10, 300
HANG = "import os; open(os.environ['HANGS'], 'w').close(); time.sleep(600)"
BEGUN = "print('[\"begun\", null]', flush=True)\n"
KILLED = "import os; os.kill(os.getpid(), 9)"
OTHERS = {
    "hangs": (BEGUN + HANG, "compiling took longer than 10 s"),
    "crashes": (BEGUN + KILLED, "its trial ended with exit code -9"),
    "raises": (
        BEGUN + "raise SystemError('no way')",
        "its trial ended with exit code 1: SystemError: no way",
    ),
    "says": (BEGUN + 'print(\'["kernels", "it is off"]\')', "it is off"),
    "says more": (
        BEGUN + 'print(\'[W] a loader warns\\n[0, 1]\\n[[]]\\n["kernels", "it is off"]\')',
        "it is off",
    ),
}


@pytest.fixture(autouse=True)
def no_clock(monkeypatch, tmp_path):
    """A trial's time is over when it says that it hangs."""
    hangs = tmp_path / "hangs"

    class Trial(subprocess.Popen):
        def communicate(self, input=None, timeout=None):
            if timeout:
                until(lambda: hangs.exists() or self.poll() is not None)
            if timeout and hangs.exists():
                hangs.unlink()
                raise subprocess.TimeoutExpired(self.args, timeout)
            return super().communicate(input)

    monkeypatch.setenv("HANGS", str(hangs))
    parts = {"Popen": Trial, "PIPE": subprocess.PIPE, "TimeoutExpired": subprocess.TimeoutExpired}
    monkeypatch.setattr(proof, "subprocess", SimpleNamespace(**parts))


@pytest.mark.parametrize("kind", OTHERS)
def test_a_trial_that_does_not_end_well_leaves_out_what_it_was_at(
    tiny_checkpoint,
    module,  # noqa: F811
    oracle,  # noqa: F811
    kind,
):
    text, why = OTHERS[kind]

    def ask(model):
        return proof.try_elsewhere(model, deadline_s=HANGING_S if kind == "hangs" else ENDING_S)

    def break_(patch):
        patch.setattr(proof, "_COMMAND", program(text))

    with opened(tiny_checkpoint, module, ask=ask, break_=break_) as (engine, said):
        assert engine.numerics == "float32, plain operations"
        (line,) = said
        assert f"without kernels ({why}); graphs (" in line
        serves(engine, oracle)


def test_what_a_trial_was_not_at_is_tried_in_another_one(tiny_checkpoint, module):  # noqa: F811
    """The kernel for int8 hangs, the others are right, and graphs crash."""
    text = f"""
import json
refused = json.loads(sys.argv[1])["refused"]
{BEGUN}
if "int8" not in refused:
    {HANG}
print('["kernels", null]', flush=True)
if "graphs" not in refused:
    {KILLED}
"""

    def ask(model):
        return proof.try_elsewhere(model, deadline_s=HANGING_S)

    def break_(patch):
        patch.setattr(proof, "_COMMAND", program(text))

    with opened(tiny_checkpoint, module, "int8", ask=ask, break_=break_) as (engine, said):
        assert engine.numerics == "int8, kernels"
        (line,) = said
        assert "int8 kernels (compiling took longer than 10 s); graphs (its trial ended" in line


@pytest.mark.parametrize("text", ["sys.exit('no device')", "sys.exit(0)", HANG])
def test_a_trial_that_cannot_begin_has_no_say(tiny_checkpoint, module, oracle, text):  # noqa: F811
    def ask(model):
        return proof.try_elsewhere(model, deadline_s=HANGING_S if text == HANG else ENDING_S)

    def break_(patch):
        patch.setattr(proof, "_COMMAND", program(text))

    with opened(tiny_checkpoint, module, ask=ask, break_=break_) as (engine, said):
        assert engine.numerics == "float32, kernels, graphs" and not said
        serves(engine, oracle)


ORPHAN = """
import os, subprocess, sys, time
from assistant.engine.local import trial
trial.end_with_parent()
compiler = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(os.environ["SEEN"] + "~", "w") as file:
    print(os.getpid(), compiler.pid, file=file)
os.rename(os.environ["SEEN"] + "~", os.environ["SEEN"])
time.sleep(600)
"""
STARTER = """
import sys
from types import SimpleNamespace as Some
from assistant.engine.local import proof
from assistant.engine.model.config import Config
proof._COMMAND = [sys.executable, "-c", sys.argv[1]]
sizes = "vocab_size positions window width layers heads kv_heads head_dim inner"
config = Config(family="gpt_bigcode", **dict.fromkeys(sizes.split(), 1))
proof._run("cpu", Some(dtype="torch.float32", numerics="", config=config), [], 600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_trial_and_its_compilers_end_with_the_program(tmp_path, how):
    seen = tmp_path / "seen"
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, ORPHAN],
        env=os.environ | {"SEEN": str(seen)},
        stderr=subprocess.DEVNULL,
    )
    try:
        until(seen.exists)
        pids = [int(pid) for pid in seen.read_text().split()]
        assert len(pids) == 2
    finally:
        starter.send_signal(how)
        starter.wait()
    try:
        until(lambda: not any(map(runs, pids)))
    finally:
        for pid in filter(runs, pids):
            os.kill(pid, signal.SIGKILL)


def runs(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize(
    ("vocabulary", "width", "inner"),
    [(49152, 6144, 24576), (49152, 2048, 8192), (50257, 6144, 24576), (384, 64, 256)],
)
def test_a_trial_compiles_every_variant_of_the_int8_kernels(vocabulary, width, inner):
    """Those that StarCoder, a small one, an odd and a tiny one take."""
    shape = {"width": width, "inner": inner, "heads": 16, "head_dim": width // 16, "kv_heads": 1}
    config = Config(
        family="gpt_bigcode",
        positions=64,
        window=64,
        layers=3,
        vocab_size=vocabulary,
        activation="gelu",
        **shape,
    )
    model = trial.one_layer(config, torch.device("meta"), torch.bfloat16, "int8")
    (layer,) = model.parts[0].decode
    tried = {variant(*each.weight.values.shape, each.bias) for each in linear(layer, model)}
    sizes = shapes.expected_shapes(replace(config, layers=1))
    needed = {variant(*sizes[name], name) for name in sizes if name.endswith(shapes.LINEAR)}
    assert tried == needed | {variant(*sizes[shapes.EMBEDDING], None)}


@pytest.mark.parametrize(
    ("sliding", "start", "kinds"),
    [(None, 0, [None]), (9, 0, [9]), (9, 2, [None, 9]), (9, 3, [None]), (9, 1, [None, 9])],
)
def test_a_trial_has_each_kind_of_layer(sliding, start, kinds):
    sizes = {"vocab_size": 64, "positions": 64, "window": 64, "width": 64, "inner": 64}
    config = Config(family="qwen2", layers=3, heads=2, kv_heads=2, head_dim=32, **sizes,
                    sliding=sliding, sliding_from=start)  # fmt: skip
    model = trial.one_layer(config, CPU, torch.float32, None)
    assert [layer.attention.sliding for layer in model.parts[0].decode] == kinds


def linear(layer, model):
    return layer.qkv, layer.out, layer.up, layer.down, model.head


def variant(outs, inputs, bias):
    return kernels._input_splits(outs, inputs), bias is None, outs % 16 == 0


@pytest.mark.parametrize("kind", [None, "int8", "int4"])
def test_the_real_trial_finds_the_same(tiny_checkpoint, module, kind):  # noqa: F811
    found = []

    def ask(model):
        found.append(proof._run(model.device, model, {}, 100))
        return {}

    def break_(patch):
        patch.setattr(proof, "_COMMAND", [sys.executable, "-m", "tests.support.card"])

    with opened(tiny_checkpoint, module, kind, ask=ask, break_=break_) as (engine, said):
        assert not said
    names = ["int8", "kernels", "graphs"] if kind else ["kernels", "graphs"]
    assert found == [(dict.fromkeys(names), None)]


BROKEN_TRIAL = """
import json, torch
from tests.support import card
from assistant.engine.local import trial
from assistant.engine.model import kernels
def fails(*given):
    raise {error}
with card.pretended():
    kernels.decode_attention = torch.cuda.synchronize = fails
    trial.main(json.loads(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("error", "end", "said"),
    [
        (
            "RuntimeError('CUDA error: illegal address\\nmore lines')",
            "its trial ended with exit code 1: CUDA error: illegal address",
            [],
        ),
        (
            "torch.OutOfMemoryError('CUDA out of memory.\\nmore lines')",
            None,
            [
                "what the card can do could not be tried in another process: "
                "OutOfMemoryError: CUDA out of memory."
            ],
        ),
    ],
)
def test_what_ends_the_real_trial_is_told(tiny_checkpoint, module, caplog, error, end, said):  # noqa: F811
    """A kernel that breaks the card for that process, and memory that runs out there."""
    found = []

    def ask(model):
        found.append(proof._run(model.device, model, {}, 100))
        return {}

    def break_(patch):
        patch.setattr(proof, "_COMMAND", program(BROKEN_TRIAL.format(error=error)))

    caplog.set_level(logging.INFO, proof.log.name)
    with opened(tiny_checkpoint, module, ask=ask, break_=break_):
        pass
    assert found == [({}, end)]
    assert [text for text in caplog.messages if "could not be tried" in text] == said


NO_SHAPE = {"kernels": "no kernel takes 65 heads of 64 on 1"}
NO_CARD = dict.fromkeys(["int8", "kernels"], "there is no C compiler")
INT8 = BEGUN + "import json; assert json.loads(sys.argv[1])['refused'] == ['kernels']\n"
INT8_RIGHT = INT8 + "print('[\"int8\", null]')"
INT8_WRONG = INT8 + 'print(\'["int8", "it is off"]\')'


@pytest.mark.parametrize(
    ("kind", "refused", "text", "numerics", "said"),
    [
        (None, NO_SHAPE, None, "float32, plain operations", "kernels (no kernel takes 65 heads"),
        (None, NO_CARD, None, "float32, plain operations", "kernels (there is no C compiler); gr"),
        (
            "int8",
            NO_CARD,
            None,
            "int8, plain operations",
            "int8 kernels (there is no C compiler); k",
        ),
        ("int8", NO_SHAPE, INT8_RIGHT, "int8, int8 kernels", "kernels (no kernel takes 65 heads"),
        ("int8", NO_SHAPE, INT8_WRONG, "int8, plain operations", "; int8 kernels (it is off); gr"),
    ],
)
def test_kernels_that_cannot_be_tried_are_no_matter_for_another_process(
    tiny_checkpoint,
    module,  # noqa: F811
    oracle,  # noqa: F811
    kind,
    refused,
    text,
    numerics,
    said,
):
    """The one for int8 does not mind a shape that others do not take."""

    def break_(patch):
        patch.setattr(kernels, "unusable_steps", lambda *shape: refused)
        patch.setattr(proof, "_COMMAND", program(text) if text else ["/nowhere"])

    with opened(tiny_checkpoint, module, kind, ask=proof.try_elsewhere, break_=break_) as (
        engine,
        log,
    ):
        assert engine.numerics == numerics
        (line,) = log
        assert said in line and "graphs (they need the kernels)" in line
        serves(engine, oracle)


def test_one_line_of_the_log_is_a_warning(tiny_checkpoint, module, caplog):  # noqa: F811
    def break_(patch):
        patch.undo()  # the log is real here
        patch.setattr(kernels, "decode_attention", fails(None))

    with caplog.at_level(logging.INFO), opened(tiny_checkpoint, module, break_=break_):
        pass
    lines = [record for record in caplog.records if record.name == proof.log.name]
    assert [record.levelname for record in lines] == ["WARNING", "INFO"]
    assert lines[1].getMessage() == "cpu computes replies in float32, plain operations"
    assert not any(record.exc_info for record in lines)
    assert os.linesep not in lines[0].getMessage()
