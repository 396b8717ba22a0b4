"""A model whose layers lie on several devices gives what it gives on one.

There are no two devices here: two names of the CPU stand for them, so that the layers fall into
parts, each with a cache of its own and copies in between; and a card is one that is pretended.
"""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from assistant.engine import device
from assistant.engine.local import calibrate, proof
from assistant.engine.local.cache import Cache
from assistant.engine.local.sampler import Sampler
from assistant.engine.local.step import DecodeStep
from assistant.engine.model import attention, kernels, layers
from assistant.engine.model import model as model_module
from assistant.engine.model.model import Chunk, Model
from assistant.engine.protocol import Request
from assistant.errors import CheckpointError
from assistant.sampling import Sampling
from tests.engine.checkpoint.test_families import make_module
from tests.engine.local.test_engine import PROMPTS
from tests.support.card import pretended, tensors_in
from tests.support.checkpoints import VOCAB_SIZE, make_tokenizer
from tests.support.engines import config_of, greedy, in_int4, make_engine, read, tensors_of

pytestmark = pytest.mark.usefixtures("one_thread")

HERE, THERE = torch.device("cpu"), torch.device("cpu", 0)
FAMILIES = {
    "gpt_bigcode": {"n_layer": 3, "vocab_size": VOCAB_SIZE},
    "llama": {"vocab_size": VOCAB_SIZE},
    "qwen2": {"vocab_size": VOCAB_SIZE, "use_sliding_window": True, "sliding_window": 50,
              "max_window_layers": 1},
}  # fmt: skip


@pytest.fixture
def split(monkeypatch):
    """split(count): of every model from here on the first `count` layers lie here, others there."""

    def make(count):
        def place(layer):
            number = numbers.setdefault(layer.norm_1.weight.data_ptr(), len(numbers))
            return HERE if number < count else THERE

        numbers = {}
        monkeypatch.setattr(layers, "place", place)

    return make


@pytest.fixture(params=FAMILIES)
def module(request):
    return make_module(request.param, FAMILIES[request.param])


def answers(model, cache):
    """Logits of two prompts together, of one behind a copied prefix, of single rows."""
    ids = PROMPTS[0][:60] + PROMPTS[1][:60]
    first = model.prefill([Chunk(ids[:40], 0, 0), Chunk(ids[:9], 2, 0)], cache.kv)
    cache.extend(0, ids[:40], cold=True)
    del cache.free[0]  # it is running: what it holds is copied
    slot, length = cache.acquire(ids)
    assert slot != 0 and length == 40
    rest = model.prefill([Chunk(ids[40:50], slot, 40)], cache.kv)
    rows = torch.tensor([(ids[50], slot, 50), (ids[51], slot, 51), (ids[9], 2, 9)]).T
    return [model.logits(first), model.logits(rest), model.decode(*rows, cache.kv)]


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("kind", ["float32", "int4"])
def test_logits(module, split, count, kind):
    tensors = in_int4(tensors_of(module)) if kind == "int4" else tensors_of(module)
    with torch.inference_mode():
        whole = Model(config_of(module), tensors)
        split(count)
        parted = Model(config_of(module), tensors)
        expected, given = (answers(model, Cache(model, 3)) for model in (whole, parted))
    sizes = [size for size in (count, 3 - count) if size]
    assert [len(part.decode) for part in parted.parts] == sizes
    assert [len(part) for part in Cache(parted, 1).kv] == sizes
    assert (
        whole.place == "cpu"
        and parted.place
        == {
            0: "0 layers on cpu + 3 on cpu:0",
            1: "1 layer on cpu + 2 on cpu:0",
            3: "cpu",
        }[count]
    )
    assert all(map(torch.equal, given, expected))


@pytest.mark.parametrize("kind", ["float32", "int4"])
def test_replies(module, split, tmp_path, kind):
    """Many at once behind a prefix that is kept, greedy, drawn and cold."""
    make_tokenizer(tmp_path, vocab_size=VOCAB_SIZE)
    prefix = PROMPTS[2][:40]
    requests = [greedy(prefix + ids, 24) for ids in PROMPTS[:6]]
    requests += [Request(tuple(prefix + ids), Sampling(temperature=1, seed=3), 24, cold=True)
                 for ids in PROMPTS[6:8]]  # fmt: skip
    replies = []
    for count in (None, 1):
        if count:
            split(count)
        engine = make_engine(tmp_path, module, dtype=kind, slots=3, threads=1)
        cache = engine._scheduler.cache
        assert len(cache.kv) == (2 if count else 1)
        engine.pin(tuple(prefix))
        assert [kv.shape[1] for kv in cache.pinned[0][1]] == [40] * len(cache.kv)
        streams = [engine.generate(request) for request in requests]
        read_ = [read(stream) for stream in streams]
        assert all(finished.cached_tokens >= 40 for *_, finished in read_[:6])
        replies.append([ids for _, ids, _ in read_])
        engine.close()
    assert replies[0] == replies[1]


def test_several_cards(module, split, tmp_path, caplog):
    """Steps are not captured there, the kernels are tried on each card, and people are told."""
    make_tokenizer(tmp_path, vocab_size=VOCAB_SIZE)
    tried = []
    plain = make_engine(tmp_path, module, slots=2, threads=1)
    expected = [read(plain.generate(greedy(ids, 24)))[1] for ids in PROMPTS[:4]]
    plain.close()
    split(2)
    with pretended(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "_run", lambda *given: (tried.append(given[::2]), ({}, None))[1])
        engine = make_engine(tmp_path, module, slots=2, threads=1)
        assert engine.numerics == "float32, 2 layers on cpu + 1 on cpu:0, kernels"
        assert tried == [(HERE, ["int8", "graphs"]), (THERE, ["int8", "graphs"])]
        assert not engine._scheduler.decode_step.graphs
        cache = engine._scheduler.cache
        assert cache.spare is None and [len(part[0]) for part in cache.kv] == [2, 2]
        streams = [engine.generate(greedy(ids, 24)) for ids in PROMPTS[:4]]
        assert [read(stream)[1] for stream in streams] == expected
        engine.close()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_card_that_breaks_is_named_whichever_it_is(module, split):
    def synchronize(device):
        if device == THERE:
            raise RuntimeError("CUDA error: illegal address")

    split(2)
    with torch.inference_mode(), pretended(), pytest.MonkeyPatch.context() as patch:
        model = Model(config_of(module), tensors_of(module))
        cache = Cache(model, 2)
        step = DecodeStep(model, cache, Sampler(2, model.vocab_size, model.device))
        patch.setattr(kernels, "add_norm", lambda *given: 1 / 0)
        patch.setattr(torch.cuda, "synchronize", synchronize)
        with pytest.raises(CheckpointError, match="cpu:0 failed while it was tried"):
            proof.prove(step, 2, {})


def test_a_model_partly_on_the_cpu_is_paced_as_one(module, split, tmp_path, monkeypatch):
    """Its steps are computed when they return, so that they are timed; its threads are named."""
    make_tokenizer(tmp_path, vocab_size=VOCAB_SIZE)
    split(2)
    with pretended(), pytest.MonkeyPatch.context() as patch:
        for place in (model_module, device):
            patch.setattr(place, "on_card", lambda device: device == HERE)
        patch.setattr(proof, "_run", lambda *given: ({}, None))
        engine = make_engine(tmp_path, module, slots=2, threads=1)
        scheduler = engine._scheduler
        assert ", 2 layers on cpu + 1 on cpu:0, 1 thread, " in engine.numerics
        assert scheduler.model.waits and not scheduler.decode_step.late
        before = scheduler.pace._chunks
        assert read(engine.generate(greedy(PROMPTS[0], 24)))[1]
        assert scheduler.pace._chunks != before
        engine.close()


def test_a_tile_is_the_largest_of_all_parts(module, split):
    split(1)
    model = Model(config_of(module), tensors_of(module))
    assert model.prefill_tile == 64
    here = model.parts[0]
    up = here.prefill[0].up._replace(tiles=())  # a card has none
    model.parts[0] = here._replace(prefill=[replace(here.prefill[0], up=up)])
    assert model.prefill_tile == 64


class Fetch(TorchDispatchMode):
    """Lets copies out of the meta device, which holds no values, be zeros."""

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # nothing is compiled here, and importing torch's compiler takes seconds

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        copies = func.overloadpacket in (torch.ops.aten.to, torch.ops.aten._to_copy)
        if copies and args[0].is_meta and (kwargs or {}).get("device") == HERE:
            return torch.zeros(args[0].shape, dtype=args[0].dtype)
        return func(*args, **kwargs or {})


def test_all_that_a_layer_takes_goes_along(module, monkeypatch):
    """The last layers on a device that computes with no tensors but its own."""
    meta = torch.device("meta")

    def attend(query, kv, *rest):
        assert {each.device for each in tensors_in((query, kv, *rest))} == {meta}
        return torch.empty_like(query)

    def add_norm(x, delta, weight, bias, epsilon):
        return x + delta, x + delta + weight

    monkeypatch.setattr(kernels, "path", kernels.Path(kernels=True))
    monkeypatch.setattr(kernels, "decode_attention", attend)
    monkeypatch.setattr(attention, "_prefill_on_card", attend)
    monkeypatch.setattr(kernels, "add_norm", add_norm)
    tensors = {
        name: tensor.to(meta) if name.startswith(("layers.1.", "layers.2.")) else tensor
        for name, tensor in tensors_of(module).items()
    }
    with torch.inference_mode(), Fetch():
        model = Model(config_of(module), tensors)
        cache = Cache(model, 3)
        assert model.places == [HERE, meta] and [kv.device for kv in cache.kv] == model.places
        assert all(len(logits) and logits.device == HERE for logits in answers(model, cache))
        cache.pin(0)
        assert [kv.device for kv in cache.pinned[0][1]] == model.places


def test_what_a_machine_can_do_is_tried_on_all_parts(module, split, monkeypatch):
    split(1)
    with torch.inference_mode():
        model = Model(config_of(module), tensors_of(module))
        cache = Cache(model, 2)
        prefill = model.prefill

        def unsteady(chunks, kv):
            hidden = prefill(chunks, kv)
            for chunk in chunks:  # in the last part alone
                kv[-1][:, chunk.slot, chunk.start] += 1e-3 * len(chunk.ids)
            return hidden

        steady = calibrate.is_bitwise_stable(model, cache)
        monkeypatch.setattr(model, "prefill", unsteady)
        assert not calibrate.is_bitwise_stable(model, cache)
        monkeypatch.undo()
        assert calibrate.is_bitwise_stable(model, cache) == steady
