"""What CUDA would refuse of a step, seen without a card: the step on meta tensors of StarCoder's
shapes, while it is captured and on its way there and back."""

import sys
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from assistant.engine import device
from assistant.engine.checkpoint import shapes
from assistant.engine.local import calibrate
from assistant.engine.local.cache import Cache
from assistant.engine.local.drafts import DRAFT_ROWS
from assistant.engine.local.guide import Guide
from assistant.engine.local.sampler import Sampler, alternatives
from assistant.engine.local.step import _BUCKETS, DecodeStep, Row, StepResult
from assistant.engine.model import kernels
from assistant.engine.model.int8 import SCALE_DTYPE, Quantized
from assistant.engine.model.model import Chunk, Model
from assistant.engine.protocol import Request
from assistant.sampling import Sampling
from tests.support.card import Strict, pretended, tensors_in
from tests.support.engines import STARCODER

TWO_LAYERS = replace(STARCODER, layers=2)  # of 40, which are all alike
META = torch.device("meta")
SLOTS = 8


class Program:
    """Stands for a Triton kernel: takes a launch and counts it. What it is given was checked by the
    wrapper that launches it."""

    def __init__(self):
        self.launches = 0

    def __getitem__(self, grid):
        assert all(0 < size < 2**16 for size in grid[1:]) and 0 < grid[0] < 2**31
        return self.launch

    def launch(self, *given, **constants):
        self.launches += 1
        tensors = list(tensors_in(given))
        assert tensors and all(tensor.device == META for tensor in tensors)
        assert all(isinstance(value, (torch.Tensor, int, float, type(None))) for value in given)
        assert all(isinstance(value, int | None) for value in constants.values())


@pytest.fixture
def programs(monkeypatch):
    names = ("attend_split", "attend_join", "multiply_int8", "add_parts", "add_norm")
    programs = SimpleNamespace(**{name: Program() for name in names})
    monkeypatch.setitem(sys.modules, "assistant.engine.model.triton_programs", programs)
    monkeypatch.setattr("assistant.engine.model.triton_programs", programs, raising=False)
    return programs


@pytest.fixture
def cuda(programs):
    wrappers = {
        name: getattr(kernels, name) for name in ("decode_attention", "int8_linear", "add_norm")
    }
    with pretended() as cuda, pytest.MonkeyPatch.context() as patch:
        for name, wrapper in wrappers.items():  # the real ones, which refuse what is misread
            patch.setattr(kernels, name, wrapper)
        patch.setattr(device, "_HOST", {"cpu"})
        yield cuda


def make_decode_step(int8, slots=SLOTS, dtype=torch.bfloat16):
    """A DecodeStep over StarCoder on meta tensors."""
    tensors = {
        name: torch.empty(shape, dtype=dtype, device=META)
        for name, shape in shapes.expected_shapes(TWO_LAYERS).items()
    }
    if int8:
        tensors["head.weight"] = tensors["tokens.weight"]
        for name, tensor in tensors.items():
            if name.endswith((*shapes.LINEAR, "head.weight")):
                values = torch.empty_like(tensor, dtype=torch.int8)
                tensors[name] = Quantized(values, values.new_empty(len(values), dtype=SCALE_DTYPE))
    model = Model(TWO_LAYERS, tensors)
    cache = Cache(model, slots)
    return DecodeStep(model, cache, Sampler(cache.kv[0].shape[1], model.vocab_size, META))


PATHS = {
    "bfloat16": (False, kernels.Path(kernels=True)),
    "int8": (True, kernels.Path(int8=True, kernels=True)),
    "int8, made dense": (True, kernels.Path(kernels=True)),
}


@pytest.fixture(params=PATHS)
def decode_step(request, cuda, monkeypatch):
    int8, path = PATHS[request.param]
    monkeypatch.setattr(kernels, "path", path)
    return make_decode_step(int8)


def test_a_step_of_every_size_can_be_captured(decode_step, cuda, programs):
    decode_step.capture(256)
    assert [count for count, *_ in decode_step.graphs] == list(_BUCKETS)
    assert len(cuda.graphs) == len(_BUCKETS)  # each as it was warmed up: tests.support.card.Cuda
    assert cuda.streams == 1
    assert programs.attend_split.launches == 2 * 2 * len(_BUCKETS)
    # A slot's first norm has nothing to add yet.
    assert programs.add_norm.launches == 2 * 3 * len(_BUCKETS)
    linear = 2 * (4 * 2 + 1) * len(_BUCKETS) if kernels.path.int8 else 0
    assert programs.multiply_int8.launches == linear
    for count, inputs, (tokens, logits), _ in decode_step.graphs:
        assert inputs.shape == (3, count) and tokens.shape == (count,)
        assert logits.shape == (count, 49152) and logits.dtype is torch.float32


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("penalised", [False, True])
def test_a_step_of_every_kind_could_be_captured(decode_step, greedy, penalised):
    inputs = torch.zeros(3, 5, dtype=torch.long, device=META)  # rows of one slot: drafts
    with Strict():
        tokens, logits = decode_step._decode(
            inputs, greedy=greedy, penalised=penalised, typical=penalised
        )
        alternatives(logits, tokens, 20)


def prompt(count, **options):
    return Request(tuple(range(count)), Sampling(**options), 9, banned_ids=frozenset({3, 4}))


def guide_of():
    """A Guide that has something to say, all of it in tensors of the host."""
    found = torch.tensor([3, 5]), torch.tensor([1.0, 2.0])
    repeats = SimpleNamespace(feed=lambda ids: None, penalties=lambda: found)
    matches = SimpleNamespace(feed=lambda ids: None, allowed=lambda: torch.ones(49152) > 0)
    return Guide(repeats, matches)


def on_the_way(decode_step):
    """All that the scheduler asks for between two waits, by name."""
    rows = [Row(-1, 0, 5), Row(7, 1, 8191), Row(9, 1, 8190)]
    chunks = [Chunk([1, 2, 3], 0, 0), Chunk([4] * 300, SLOTS - 1, 512)]
    logits = torch.empty(2, 49152, device=META)
    tokens = torch.empty(2, dtype=torch.long, device=META)
    cache = decode_step.cache
    cache.ids[2] = list(range(50))
    return {
        "admission": lambda: decode_step.sampler.start(1, prompt(40, seed=2**53 - 1)),
        "admission, penalty": lambda: decode_step.sampler.start(
            0, prompt(40, repetition_penalty=1.2)
        ),
        "admission, bias": lambda: decode_step.sampler.start(
            0, replace(prompt(40, logit_bias={5: 2.0}), stop_ids=frozenset({0}), min_new_tokens=3)
        ),
        "a guide": lambda: guide_of().write(decode_step.sampler.bias[0], [3, 5]),
        "a prefix": lambda: cache.acquire(list(range(40))),
        "a pinned prefix": lambda: cache.pin(2),
        "prefill": lambda: decode_step.model.prefill(chunks, cache.kv),
        "decode": lambda: decode_step.compute(rows, greedy=False, penalised=True),
        "decode, greedy": lambda: decode_step.compute(rows, greedy=True, penalised=False),
        "the first token": lambda: StepResult(
            decode_step._sample(logits, *device.send([[0, 1], [4, 5]], META)),
            logits,
            5,
        ),
        "scores": lambda: decode_step.model.logits(logits.new_empty(3, 6144, dtype=torch.bfloat16)),
        "what was drawn": lambda: StepResult(tokens, logits, 20),
    }


WAYS = list(on_the_way(SimpleNamespace(cache=SimpleNamespace(ids=[[]] * 3))))


@pytest.mark.parametrize("way", WAYS)
def test_nothing_on_a_steps_way_waits_for_the_device(decode_step, way, monkeypatch):
    # torch's mask is a tensor of a kind that cannot be made while operators are watched.
    monkeypatch.setattr("torch.nn.attention.bias.causal_lower_right", lambda *size: None)
    if "decode" in way:
        decode_step.capture(DRAFT_ROWS)
        for *_, graph in decode_step.graphs:
            graph.replay = lambda: None
    compute = on_the_way(decode_step)[way]
    with Strict(capturing=False):
        compute()


def test_a_row_more_in_a_step_takes_no_more_memory_than_is_reckoned(cuda, monkeypatch):
    """What is alive at a step's peak, and what is not seen here: see shapes._DRAWING."""
    monkeypatch.setattr(kernels, "path", kernels.Path(kernels=True))
    decode_step = make_decode_step(False)
    peaks = []
    for count in (16, 64):
        inputs = torch.zeros(3, count, dtype=torch.long, device=META)
        with Alive() as alive:
            decode_step._decode(inputs)
        peaks.append(alive.peak)
    a_row = (peaks[1] - peaks[0]) / 48
    *smaller, most = _BUCKETS
    beside = 2 * (4 + 8 + 4) + 4 * sum(smaller) / most
    assert a_row / 49152 + beside <= shapes._DRAWING


class Alive(Strict):
    """peak: the most bytes that the operators' results held at once."""

    def __init__(self):
        super().__init__()
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = super().__torch_dispatch__(func, types, args, kwargs)
        taken = {t.untyped_storage()._cdata for t in tensors_in(args)}
        for storage in (tensor.untyped_storage() for tensor in tensors_in([out])):
            if storage._cdata not in taken:
                self.bytes += storage.nbytes()
                weakref.finalize(storage, self.lose, storage.nbytes())
        self.peak = max(self.peak, self.bytes)
        return out

    def lose(self, size):
        self.bytes -= size


def test_the_trials_at_load_hand_over_what_kernels_can_read(decode_step, programs):
    """The wrappers refuse rows that stand apart in memory, as a transposed batch has them."""
    logits = calibrate._decode(decode_step.model, decode_step.cache, range(5))
    assert logits.shape == (5, 49152) and programs.attend_split.launches == 2
