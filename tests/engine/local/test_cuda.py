"""The engine on a card gives the text that it gives on a CPU: on CUDA where there is a device, and
without one on a CPU that is taken for a card (tests/support/card.py)."""

from types import SimpleNamespace

import pytest
import torch

from assistant.engine.checkpoint.read import read_tensors
from assistant.engine.checkpoint.shapes import LINEAR, expected_shapes
from assistant.engine.checkpoint.weights import file_names, find_tensors
from assistant.engine.local.drafts import DRAFT_ROWS
from assistant.engine.local.engine import LocalEngine
from assistant.engine.model import kernels
from assistant.engine.model.int4 import multiply
from assistant.engine.model.int8 import dequantize
from assistant.engine.protocol import Request
from assistant.engine.tokenizer import load_tokenizer
from assistant.sampling import Sampling
from tests.engine.local.test_engine import PROMPTS, healthy, module, oracle, read_all  # noqa: F401
from tests.support.card import pretended
from tests.support.engines import config_of, greedy, load_module, make_engine, read

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=needs_gpu)])
def place(request):
    """The device, and the Cuda that stands for it or None."""
    if request.param == "cuda":
        yield torch.device("cuda", 0), None
    else:
        with pretended(ask=lambda model: {}) as cuda:
            yield torch.device("cpu"), cuda


def checkpoint(folder, module, device, kind=None):  # noqa: F811
    stored = find_tensors([folder / "model.safetensors"], config_of(module))
    return SimpleNamespace(
        name="tiny",
        revision=None,
        adapter=None,
        embedded=False,
        config=config_of(module),
        tensors=read_tensors(stored, device, torch.float32, kind),
        tokenizer=load_tokenizer(folder),
        dtype=kind or "float32",
    )


def open_card(folder, module, device, kind=None, **options):  # noqa: F811
    loaded = checkpoint(folder, module, device, kind)
    return LocalEngine(lambda: loaded, **{"slots": 6, "queue": 20, **options})


@pytest.fixture(params=[False, True], ids=["alone", "drafts"])
def engine(request, place, tiny_checkpoint, module):  # noqa: F811
    engine = open_card(tiny_checkpoint, module, place[0], drafts=request.param)
    yield engine
    engine.close()


def test_greedy_equals_the_oracle(engine, oracle, place):  # noqa: F811
    assert engine.numerics == "float32, kernels, graphs"
    for count in (1, 5, 8):
        streams = [engine.generate(greedy(ids, 64)) for ids in PROMPTS[:count]]
        assert [read(stream)[1] for stream in streams] == oracle[:count]
    streams = [engine.generate(greedy(ids, 64, cold=True)) for ids in PROMPTS[:4]]
    assert [read(stream)[1] for stream in streams] == oracle[:4]
    if cuda := place[1]:
        assert sum(graph.replayed for graph in cuda.graphs) > 100
    healthy(engine, oracle)


def test_sampling_penalties_and_alternatives_are_those_of_a_cpu(
    engine,
    oracle,  # noqa: F811
    tiny_checkpoint,
    module,  # noqa: F811
):
    requests = [
        Request(tuple(PROMPTS[n]), Sampling(**options), 40, logprobs=logprobs, banned_ids=banned)
        for n, (options, logprobs, banned) in enumerate(
            [
                ({"temperature": 0, "repetition_penalty": 1.3}, None, frozenset()),
                ({"temperature": 0, "repetition_penalty": 0.8}, 3, frozenset({20, 21})),
                ({"temperature": 1.0, "seed": 5}, 5, frozenset()),
                ({"temperature": 0.7, "top_p": 0.8, "top_k": 30, "seed": 2**53 - 1}, None, {7}),
                ({"temperature": 2.0, "min_p": 0.05, "seed": 1}, 1, frozenset()),
            ]
        )
    ]
    streams = [engine.generate(request) for request in requests]
    given = [read(stream)[1] for stream in streams]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assistant.engine.device._HOST", {"cpu"})
        plain = make_engine(tiny_checkpoint, module, slots=6)
        expected = [read(plain.generate(request))[1] for request in requests]
        scores = read_all(plain.generate(requests[2]))
        plain.close()
    assert given == expected
    again = read_all(engine.generate(requests[2]))
    assert again[0] == scores[0] and again[1] == pytest.approx(scores[1], abs=1e-3)
    healthy(engine, oracle)


def test_a_cancel_touches_nobody_else(engine, oracle):  # noqa: F811
    streams = [engine.generate(greedy(ids, 64)) for ids in PROMPTS[:6]]
    for stream in streams[::2]:
        next(stream)
        stream.close()
    assert [read(stream)[1] for stream in streams[1::2]] == oracle[1:6:2]
    healthy(engine, oracle)


def test_int8_is_the_dense_weights_it_stands_for(place, tiny_checkpoint, module):  # noqa: F811
    device, _ = place
    exact = load_module(tiny_checkpoint, tie_word_embeddings=False)
    stored = find_tensors([tiny_checkpoint / "model.safetensors"], config_of(module))
    tensors = read_tensors(stored, torch.device("cpu"), torch.float32, "int8")
    exact.lm_head.weight.data = dequantize(tensors["head.weight"], torch.float32)
    config = config_of(module)
    for name in expected_shapes(config):
        if name.endswith(LINEAR):
            tensor = exact.transformer.get_parameter(*file_names(config, name))
            tensor.data = dequantize(tensors[name], torch.float32)
    engine = open_card(tiny_checkpoint, module, device, "int8")
    assert engine.numerics == "int8, int8 kernels, kernels, graphs"
    streams = [engine.generate(greedy(ids, 40)) for ids in PROMPTS[:8]]
    for ids, stream in zip(PROMPTS, streams, strict=False):
        expected = exact.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=40,
            do_sample=False,
            pad_token_id=0,
        )
        assert read(stream)[1] == expected[0, len(ids) :].tolist()
    engine.close()


def test_int4_is_the_weights_it_stands_for(place, tiny_checkpoint, module):  # noqa: F811
    engine = open_card(tiny_checkpoint, module, place[0], "int4")
    assert engine.numerics == "int4, int8 kernels, kernels, graphs"
    model = engine._scheduler.model
    exact = load_module(tiny_checkpoint, tie_word_embeddings=False)
    exact.lm_head.weight.data = dequantize(model.head.weight, torch.float32).cpu()
    for n, layer in enumerate(model.parts[0].prefill):
        for name in ("qkv", "out", "up", "down"):
            packed = getattr(layer, name).weight
            unit = torch.eye(packed.shape[1], device=model.device)
            (key,) = file_names(model.config, f"layers.{n}.{name}.weight")
            exact.transformer.get_parameter(key).data = multiply(unit, packed).T.float().cpu()
    alone = [read(engine.generate(greedy(ids, 20)))[1] for ids in PROMPTS[:6]]
    streams = [engine.generate(greedy(ids, 20)) for ids in PROMPTS[:6]]
    assert [read(stream)[1] for stream in streams] == alone
    expected = [exact(torch.tensor([ids])).logits[0, -1].argmax().item() for ids in PROMPTS[:6]]
    assert [ids[0] for ids in alone] == expected
    engine.close()


def test_what_fills_a_captured_step_up_touches_no_request(engine, oracle):  # noqa: F811
    """Its rows are at their own positions of a slot that nobody has."""
    step, seen = engine._scheduler.decode_step, []
    cache = step.cache
    assert cache.kv[0].shape[1] == len(step._last) == 7 and cache.spare == 6 not in cache.free

    def watched(inputs, graph):
        return SimpleNamespace(replay=lambda: (seen.append(inputs.tolist()), graph.replay()))

    step.graphs = [(*others, watched(others[1], graph)) for *others, graph in step.graphs]
    streams = [engine.generate(greedy(ids, 64)) for ids in PROMPTS[:3]]
    assert [read(stream)[1] for stream in streams] == oracle[:3]
    filled = 0
    for ids, slots, positions in seen:
        places = list(zip(slots, positions, strict=True))
        assert len(set(places)) == len(places)
        rest = [n for n, slot in enumerate(slots) if slot == cache.spare]
        filled += len(rest)
        assert rest == list(range(len(ids) - len(rest), len(ids)))
        assert [positions[n] for n in rest] == rest
    assert filled
    healthy(engine, oracle)


def test_the_card_is_set_up(engine, place):
    matmul = torch.backends.cuda.matmul
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert not matmul.allow_bf16_reduced_precision_reduction
    assert not matmul.allow_fp16_reduced_precision_reduction
    counts = [count for count, *_ in engine._scheduler.decode_step.graphs]
    assert counts == [1, 2, 4, 8, DRAFT_ROWS]
    assert kernels.path == kernels.Path(kernels=True, graphs=True)
    if cuda := place[1]:
        assert cuda.streams == 1


def test_the_pace_is_that_of_captured_steps(place, tiny_checkpoint, module, monkeypatch):  # noqa: F811
    """And no first call counts, which may load what the device computes with."""
    from assistant.engine.local import pace as pace_module

    clock, calls = [0.0], {}
    monkeypatch.setattr(pace_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr("assistant.engine.local.proof._COUNTS", (1,))
    fastest = pace_module._fastest

    def measured(compute):
        kinds = calls.setdefault(len(calls), [])

        def counted():
            kinds.append(sum(graph.replayed for graph in cuda.graphs) if cuda else 0)
            clock[0] += 10 if len(kinds) == 1 else 0.01
            return compute()

        return fastest(counted)

    device, cuda = place
    monkeypatch.setattr(pace_module, "_fastest", measured)
    engine = open_card(tiny_checkpoint, module, device)
    pace = engine._scheduler.pace
    assert pace.decode_s == pytest.approx(0.01)
    assert all(seconds == pytest.approx(0.01) for _, seconds in pace._chunks)
    if cuda:
        before, *_, after = calls[len(calls) - 1]
        assert after > before
    engine.close()
