"""Which weights decode gets, and whether results depend on their company."""

from collections import defaultdict
from functools import partial
from math import prod
from types import SimpleNamespace

import pytest
import torch

from assistant.engine.checkpoint.shapes import layer_shapes
from assistant.engine.local import calibrate
from assistant.engine.local.cache import Cache
from assistant.engine.tokenizer import load_tokenizer
from tests.engine.model.test_model import make_model
from tests.support.engines import config_of, load_module, make_engine, read, tensors_of
from tests.support.engines import greedy as request


@pytest.fixture(scope="module")
def module(tiny_checkpoint):
    return load_module(tiny_checkpoint)


def checkpoint(folder, module, dtype):
    return SimpleNamespace(
        config=config_of(module),
        tensors=tensors_of(module),
        tokenizer=load_tokenizer(folder),
        dtype=dtype,
    )


def is_int8(model):
    return model.numerics.startswith("int8")


@pytest.mark.parametrize(("dtype", "int8"), [("float32", False), ("int8", True)])
def test_what_is_asked_for_is_given(tiny_checkpoint, module, dtype, int8):
    assert is_int8(calibrate.choose_model(checkpoint(tiny_checkpoint, module, dtype))) == int8


@pytest.mark.parametrize(
    ("int8_s", "error", "int8"),
    [(0.001, 0.0, True), (0.003, 0.0, False), (0.001, 3.0, False), (0.001, torch.nan, False)],
)
def test_auto_is_int8_where_it_is_faster_and_says_the_same(
    tiny_checkpoint, module, monkeypatch, int8_s, error, int8
):
    logits = torch.randn(9, 50, generator=torch.Generator().manual_seed(0))

    def trial(model, ids):
        return (logits + error * logits.sin(), int8_s) if is_int8(model) else (logits, 0.002)

    monkeypatch.setattr(calibrate, "_trial", trial)
    assert is_int8(calibrate.choose_model(checkpoint(tiny_checkpoint, module, "auto"))) == int8


def test_the_trial_of_the_real_models_agrees(tiny_checkpoint, module):
    ids = list(range(20, 60))
    plain, eight = (make_model(module, int8=int8) for int8 in (False, True))
    with torch.inference_mode():
        (expected, seconds), (given, _) = calibrate._trial(plain, ids), calibrate._trial(eight, ids)
    assert seconds >= 0 and (given.argmax(-1) == expected.argmax(-1)).float().mean() > 0.8
    want = module(torch.tensor([ids])).logits[0, -1].detach()
    torch.testing.assert_close(expected[-1], want, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_an_engine_of_small_numbers_serves_and_repeats(tiny_checkpoint, module, dtype):
    engine = make_engine(tiny_checkpoint, module, dtype=dtype, slots=3)
    assert engine.numerics.startswith(dtype)
    prompts = [list(range(20, 20 + n)) for n in (5, 40, 90)]
    alone = [read(engine.generate(request(ids, 30)))[1] for ids in prompts]
    together = [engine.generate(request(ids, 30)) for ids in prompts]
    again = [read(stream)[1] for stream in together]
    assert again == alone or not engine._scheduler.bitwise_stable  # as tried on this machine
    engine.close()


@pytest.mark.parametrize("name", ["decode", "prefill"])
def test_a_machine_whose_products_depend_on_their_company_is_told(module, monkeypatch, name):
    model = make_model(module)
    with torch.inference_mode():
        real = getattr(model, name)

        def unsteady(first, *rest):
            rows = len(first) if name == "decode" else len(first[0].ids)
            return real(first, *rest) + 1e-6 * rows

        monkeypatch.setattr(model, name, unsteady)
        assert not calibrate.is_bitwise_stable(model, Cache(model, 2))


@pytest.mark.parametrize("kept", [0.0, 1e-3])
def test_what_depends_on_nothing_else_is_said_to_be_steady(module, monkeypatch, kept):
    """kept: how much of the number of tokens gets into the cache: then it is not."""
    model = make_model(module)

    def prefill(chunks, cache):
        (kv,) = cache
        for chunk in chunks:
            place = slice(chunk.start, chunk.start + len(chunk.ids))
            values = torch.tensor(chunk.ids, dtype=kv.dtype)[:, None, None]
            kv[:, chunk.slot, place] = values + kept * len(chunk.ids)
        return torch.cat([model.tokens[chunk.ids] for chunk in chunks])

    def decode(ids, slots, positions, kv):
        return model.tokens[ids] + model.positions[positions]

    monkeypatch.setattr(model, "prefill", prefill)
    monkeypatch.setattr(model, "decode", decode)
    with torch.inference_mode():
        assert calibrate.is_bitwise_stable(model, Cache(model, 2)) is not bool(kept)


@pytest.mark.parametrize(
    ("name", "rows", "stable"),
    [("decode", 16, False), ("decode", 40, True), ("prefill", 256, False), ("prefill", 300, True)],
)
def test_a_card_is_tried_with_as_many_rows_as_its_kernels_tell_apart(
    module, monkeypatch, name, rows, stable
):
    """rows: those beyond which the bits are others."""
    model = make_model(module)
    model.window = 400

    def prefill(chunks, cache):
        (kv,) = cache
        for chunk in chunks:
            place = slice(chunk.start, chunk.start + len(chunk.ids))
            kv[:, chunk.slot, place] = torch.tensor(chunk.ids, dtype=kv.dtype)[:, None, None]
        hidden = torch.cat([model.tokens[chunk.ids] for chunk in chunks])
        return hidden + (name == "prefill" and len(hidden) > rows)

    def decode(ids, slots, positions, kv):
        return model.tokens[ids] + (name == "decode" and len(ids) > rows)

    monkeypatch.setattr(model, "prefill", prefill)
    monkeypatch.setattr(model, "decode", decode)
    monkeypatch.setattr(calibrate, "on_card", lambda device: True)
    with torch.inference_mode():  # 40 slots: steps of as many rows
        assert calibrate.is_bitwise_stable(model, Cache(model, 40)) is stable


def test_whether_results_depend_on_the_number_of_threads_is_tried(module, monkeypatch):
    model = make_model(module)
    cache, before = Cache(model, 2), torch.get_num_threads()
    try:
        with torch.inference_mode():
            for name, expected in (("decode", [True, False]), ("prefill", [False, True])):
                real = getattr(model, name)

                told = [0]  # the number is not really changed: this machine's may count, too

                def unsteady(*given, real=real, told=told):
                    return real(*given) + 1e-3 * told[0]

                with monkeypatch.context() as patch:
                    patch.setattr(model, name, unsteady)
                    patch.setattr(torch, "set_num_threads", partial(told.__setitem__, 0))
                    assert calibrate.depend_on_threads(model, cache, [1, 2, 4]) == expected
            assert calibrate.depend_on_threads(model, cache, [2]) == [False, False]
            # A larger model is judged by one of its layers.
            layer = sum(map(prod, layer_shapes(model.config).values()))
            monkeypatch.setattr(calibrate, "_LARGEST", layer)
            assert model.config.layers > 1
            assert calibrate.depend_on_threads(model, cache, [2]) == [False, False]
            monkeypatch.setattr(calibrate, "_LARGEST", layer - 1)  # what was not tried is not known
            assert calibrate.depend_on_threads(model, cache, [1, 2, 4]) == [True, True]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "int8", "int4", "bfloat16"])
def test_any_number_of_threads_gives_the_same_ids_or_it_is_said(
    tiny_checkpoint, dtype, monkeypatch
):
    """On this machine, whatever it is, and whatever numbers it chooses each time."""
    from assistant.engine.local import threads as module

    monkeypatch.setattr(module, "usable_cores", lambda: 4)
    found = defaultdict(list)
    for count in (1, 2, 4):
        oracle = load_module(tiny_checkpoint)
        if dtype == "bfloat16":
            oracle = oracle.bfloat16()
        engine = make_engine(tiny_checkpoint, oracle, dtype=dtype, threads=count)
        replies = [read(engine.generate(request(range(20, 20 + n), 20)))[1] for n in (3, 70, 150)]
        found[engine.numerics].append(replies)
        engine.close()
    for numerics, replies in found.items():
        assert all(reply == replies[0] for reply in replies), numerics


@pytest.mark.parametrize("window", [31, 100, 165, 256, 8192, 100_000])
def test_each_row_of_a_trial_stands_in_its_own_place(window):
    """One of them at the end; of a long window the others near, since a far one takes as long as
    the window is. Before each stand numbers."""
    seen = []
    model = SimpleNamespace(
        window=window,
        vocab_size=50,
        device=torch.device("cpu"),
        places=[torch.device("cpu")],
        decode=lambda ids, slots, positions, kv: seen.extend(positions.tolist()),
        prefill=lambda chunks, kv: kv,
    )
    kv = torch.full((1, 1, window, 2), torch.nan)
    cache = SimpleNamespace(kv=[kv])
    calibrate._prefill(model, cache, list(range(9)))
    calibrate._decode(model, cache, range(16))
    assert seen[-1] == window - 1 and max(seen[:-1]) < min(window, 8192)
    assert len(set(seen)) == 16
    assert kv.isfinite().all() and kv.std() > 0.5
    kv = kv[0, 0]  # few are drawn, the others are copies
    assert torch.equal(kv[512:], kv[:-512] if window > 512 else kv[:0])
