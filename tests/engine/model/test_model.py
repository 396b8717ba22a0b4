"""The forward pass against its oracle, the transformers module with the same weights."""

import itertools

import pytest
import torch

from assistant.engine.local import calibrate
from assistant.engine.local.cache import Cache
from assistant.engine.model.model import Chunk, Model
from tests.support.checkpoints import VOCAB_SIZE, make_checkpoint
from tests.support.engines import config_of, load_module, tensors_of

TOLERANCE = 1e-4
IDS = torch.randint(0, VOCAB_SIZE, (120,), generator=torch.Generator().manual_seed(1)).tolist()


def make_model(module, **options):
    return Model(config_of(module), tensors_of(module), **options)


def compute(model, cache, *chunks):
    ends = [end - 1 for end in itertools.accumulate(len(ids) for ids, *_ in chunks)]
    with torch.inference_mode():
        return model.logits(model.prefill([Chunk(*chunk) for chunk in chunks], cache)[ends])


def decode(model, cache, *rows):
    """Logits after single tokens: rows of (id, slot, position)."""
    with torch.inference_mode():
        return model.decode(*torch.tensor(rows).T, cache)


def expected(module, ids):
    """[vocabulary]: the oracle's logits after `ids`, without any cache."""
    with torch.inference_mode():
        return module(torch.tensor([ids])).logits[0, -1]


def new_cache(model, slots=4):
    # NaN wherever nothing was computed: reading it by mistake cannot go unseen.
    return [part.fill_(torch.nan) for part in model.new_kv(slots, model.window)]


def copied(cache):
    return [part.clone() for part in cache]


@pytest.fixture(scope="module")
def module(tiny_checkpoint):
    return load_module(tiny_checkpoint)


def test_prefill(module):
    model = make_model(module)
    logits = compute(model, new_cache(model), (IDS, 0, 0))
    torch.testing.assert_close(logits[0], expected(module, IDS), atol=TOLERANCE, rtol=0)


def test_decode(module):
    model = make_model(module)
    cache = new_cache(model)
    compute(model, cache, (IDS[:100], 2, 0))
    for position in range(100, 110):
        logits = decode(model, cache, (IDS[position], 2, position))
        want = expected(module, IDS[: position + 1])
        torch.testing.assert_close(logits[0], want, atol=TOLERANCE, rtol=0)


def test_decode_of_several_slots_and_of_guessed_tokens_behind_each_other(module):
    model = make_model(module)
    cache = new_cache(model)
    compute(model, cache, (IDS[:50], 0, 0), (IDS[50:90], 3, 0))
    rows = [(IDS[50], 0, 50), (IDS[51], 0, 51), (IDS[90], 3, 40), (IDS[52], 0, 52)]
    logits = decode(model, cache, *rows)
    for row, ids in zip(logits, (IDS[:51], IDS[:52], IDS[50:91], IDS[:53]), strict=True):
        torch.testing.assert_close(row, expected(module, ids), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_int8_decodes_nearly_the_same(module, dtype):
    model = make_model(module, int8=True, prefill_dtype=dtype)
    cache = new_cache(model)
    given = [compute(model, cache, (IDS[:100], 1, 0))]
    given += [decode(model, cache, (IDS[n], 1, n), (IDS[n + 1], 1, n + 1)) for n in (100, 102)]
    want = torch.stack([expected(module, IDS[:n]) for n in range(100, 105)])
    divergence = torch.nn.functional.kl_div(
        torch.cat(given).log_softmax(-1), want.log_softmax(-1), log_target=True, reduction="none"
    ).sum(-1)
    assert divergence.max() < 0.02
    (part,) = model.parts
    weight = part.decode[0].up.weight
    assert (weight.values.dtype, part.prefill[0].up.weight.dtype) == (torch.int8, dtype)


@pytest.mark.parametrize("int8", [False, True])
def test_a_row_is_the_same_alone_and_in_company_where_that_is_said(module, int8):
    model = make_model(module, int8=int8)
    cache = new_cache(model)
    chunks = [(IDS[:50], 0, 0), (IDS[:33], 1, 0), (IDS[:7], 2, 0)]
    together = compute(model, cache, *chunks)
    kept = copied(cache)
    pairs = [
        (compute(model, cache, chunk)[0], row) for row, chunk in zip(together, chunks, strict=True)
    ]
    compute(model, cache, (IDS[:17], 3, 0))
    pairs.append((compute(model, cache, (IDS[17:50], 3, 17))[0], together[0]))
    rows = [(IDS[50], 0, 50), (IDS[33], 1, 33), (IDS[7], 2, 7)]
    together = decode(model, copied(kept), *rows)
    pairs += [
        (decode(model, copied(kept), alone)[0], row)
        for row, alone in zip(together, rows, strict=True)
    ]
    with torch.inference_mode():
        steady = calibrate.is_bitwise_stable(
            model, Cache(model, 4)
        )  # what is said of this machine must hold
    assert all(itertools.starmap(torch.equal, pairs)) or not steady


@pytest.mark.parametrize("cut", [1, 60, 118])
def test_suffix_prefill_on_a_copied_prefix(module, cut):
    model = make_model(module)
    cache = new_cache(model)
    compute(model, cache, (IDS[:cut], 0, 0))
    for part in cache:
        part[:, 3, :cut] = part[:, 0, :cut]
    logits = compute(model, cache, (IDS[cut:], 3, cut))
    torch.testing.assert_close(logits[0], expected(module, IDS), atol=TOLERANCE, rtol=0)


def test_chunks_of_several_requests_in_one_pass(module):
    model = make_model(module)
    cache = new_cache(model)
    compute(model, cache, (IDS[:50], 0, 0), (IDS[50:90], 1, 0))
    logits = compute(model, cache, (IDS[50:51], 0, 50), (IDS[90:], 1, 40), (IDS[7:30], 2, 0))
    for row, ids in zip(logits, (IDS[:51], IDS[50:], IDS[7:30]), strict=True):
        torch.testing.assert_close(row, expected(module, ids), atol=TOLERANCE, rtol=0)


def test_the_last_position_is_computed_and_none_after_it(module):
    model = make_model(module)
    ids = (IDS * 3)[: model.window]
    cache = new_cache(model)
    logits = compute(model, cache, (ids, 0, 0))
    torch.testing.assert_close(logits[0], expected(module, ids), atol=TOLERANCE, rtol=0)
    with pytest.raises(IndexError):
        compute(model, cache, ([1], 0, model.window))


@pytest.mark.parametrize(
    "config",
    [
        {"activation_function": "gelu"},
        {"activation_function": "gelu_fast"},
        {"scale_attn_weights": False},
        {"n_inner": 96, "layer_norm_epsilon": 0.1},
        {"n_head": 1},
    ],
)
def test_variants_of_the_family(tmp_path, config):
    module = load_module(make_checkpoint(tmp_path, **config))
    model = make_model(module)
    logits = compute(model, new_cache(model), (IDS, 0, 0))
    torch.testing.assert_close(logits[0], expected(module, IDS), atol=TOLERANCE, rtol=0)
