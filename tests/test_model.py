"""The forward pass against its oracle, the transformers module with the same weights."""

import pytest
import torch

from assistant.engine.model import Chunk, Model
from tests.checkpoints import VOCAB_SIZE, make_checkpoint
from tests.engines import load_module

TOLERANCE = 1e-4
IDS = torch.randint(0, VOCAB_SIZE, (120,), generator=torch.Generator().manual_seed(1)).tolist()


def compute(model, cache, *chunks):
    with torch.inference_mode():
        return model.forward([Chunk(*chunk) for chunk in chunks], cache)


def expected(module, ids):
    """[vocabulary]: the oracle's logits after `ids`, without any cache."""
    with torch.inference_mode():
        return module(torch.tensor([ids])).logits[0, -1]


def new_cache(model, slots=4):
    # NaN wherever nothing was computed: reading it by mistake cannot go unseen.
    return torch.full(model.kv_shape(slots, model.window), torch.nan)


@pytest.fixture(scope="module")
def module(tiny_checkpoint):
    return load_module(tiny_checkpoint)


def test_prefill(module):
    model = Model(module)
    logits = compute(model, new_cache(model), (IDS, 0, 0))
    torch.testing.assert_close(logits[0], expected(module, IDS), atol=TOLERANCE, rtol=0)


def test_decode(module):
    model = Model(module)
    cache = new_cache(model)
    compute(model, cache, (IDS[:100], 2, 0))
    for position in range(100, 110):
        logits = compute(model, cache, (IDS[position : position + 1], 2, position))
        want = expected(module, IDS[: position + 1])
        torch.testing.assert_close(logits[0], want, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("cut", [1, 60, 118])
def test_suffix_prefill_on_a_copied_prefix(module, cut):
    model = Model(module)
    cache = new_cache(model)
    compute(model, cache, (IDS[:cut], 0, 0))
    cache[:, 3, :cut] = cache[:, 0, :cut]
    logits = compute(model, cache, (IDS[cut:], 3, cut))
    torch.testing.assert_close(logits[0], expected(module, IDS), atol=TOLERANCE, rtol=0)


def test_chunks_of_several_requests_in_one_pass(module):
    model = Model(module)
    cache = new_cache(model)
    compute(model, cache, (IDS[:50], 0, 0), (IDS[50:90], 1, 0))
    logits = compute(model, cache, (IDS[50:51], 0, 50), (IDS[90:], 1, 40), (IDS[7:30], 2, 0))
    for row, ids in zip(logits, (IDS[:51], IDS[50:], IDS[7:30]), strict=True):
        torch.testing.assert_close(row, expected(module, ids), atol=TOLERANCE, rtol=0)


def test_the_last_position_is_computed_and_none_after_it(module):
    model = Model(module)
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
    model = Model(module)
    logits = compute(model, new_cache(model), (IDS, 0, 0))
    torch.testing.assert_close(logits[0], expected(module, IDS), atol=TOLERANCE, rtol=0)
