"""How long a chunk of a prompt may be beside others that wait for their next token."""

import pytest
import torch

from assistant.engine.local.cache import Cache
from assistant.engine.local.pace import _MOST, Pace
from assistant.engine.local.sampler import Sampler
from assistant.engine.local.step import DecodeStep
from tests.engine.model.test_model import make_model
from tests.support.engines import load_module


@pytest.fixture
def pace(tiny_checkpoint):
    model = make_model(load_module(tiny_checkpoint))
    with torch.inference_mode():
        return Pace(DecodeStep(model, Cache(model, 1), Sampler(1, model.vocab_size, model.device)))


def cost(pace, base, each, growth=0.0, small=16, reach=10**6):
    """`pace` as if chunks had been measured to cost this in ms, in steps of `small` tokens."""
    pace._small, pace._growth, pace._reach = small, growth, reach
    pace._chunks = [(n, (base + n * each) / 1e3) for n in (16, 64)]
    pace._fit()
    return pace


@pytest.mark.parametrize(
    ("decode_s", "start", "size"),
    [
        (0.002, 0, 48),  # 7 ms, less 1 ms, are 60 tokens of 0.1 ms
        (0.002, 1000, 16),  # behind 1,000 tokens each takes 0.2 ms
        (0.004, 1000, 64),
        (0.004, 9000, 16),
        (0.0001, 0, 16),  # something must go on
        (1.0, 0, _MOST),
    ],
)
def test_a_chunk_takes_at_most_three_and_a_half_times_a_decode_step(pace, decode_s, start, size):
    cost(pace, 1, 0.1, growth=0.001).decode_s = decode_s
    assert pace.tokens(start) == size


def test_what_no_layer_sees_costs_nothing(pace):
    cost(pace, 1, 0.1, growth=0.001, reach=1000).decode_s = 0.004
    assert pace.tokens(9000) == pace.tokens(1000) == 64
    cost(pace, 1, 0.1, growth=0.001, reach=1000).note_chunk(9000, 32, 0.0074)
    assert pace._chunks[-1] == (64, 0.0074)


def test_what_stands_before_the_measured_chunks_was_written(tiny_checkpoint):
    """Memory that nobody has written is read in another time, in all layers."""
    model = make_model(load_module(tiny_checkpoint))
    with torch.inference_mode():
        cache = Cache(model, 1)
        cache.kv[0].fill_(torch.nan)
        pace = Pace(DecodeStep(model, cache, Sampler(1, model.vocab_size, model.device)))
        assert cache.kv[0][:, 0, : model.window - pace._small].isfinite().all()


def test_a_prompt_alone_is_read_in_larger_chunks(pace):
    cost(pace, 1, 1.0).decode_s = 0.002
    assert (pace.tokens(0, alone=True), pace.tokens(0)) == (288, 16)


def test_chunks_are_of_as_many_tokens_as_cost_no_more_than_fewer(pace):
    cost(pace, 1, 0.1, small=32).decode_s = 0.002
    assert pace.tokens(0) == 32


def test_where_the_smallest_chunk_takes_too_long_large_ones_are_computed(pace):
    """Each takes 100 ms by itself: a prompt of 1,000 tokens in chunks of 16 takes 6 s longer."""
    cost(pace, 100, 0.5).decode_s = 0.002
    assert pace.tokens(0) >= 192


@pytest.mark.parametrize("wrong", [(50, 10), (0.1, 0.01), (100, 0.001)])
def test_the_cost_is_measured_anew_with_every_chunk(pace, wrong):
    """What was measured at load, beside another program, fades: a few prompts later the size of a
    chunk is near what it should be."""
    right = cost(pace, 1, 0.1)
    right.decode_s = 0.004
    expected = right.tokens(0)
    cost(pace, *wrong).decode_s = 0.004
    for _ in range(60):
        count = pace.tokens(0)
        pace.note_chunk(0, count, (1 + 0.1 * count) / 1e3)
    assert expected / 2 <= pace.tokens(0) <= 2 * expected


def test_one_slow_step_hardly_counts_and_many_do(pace, monkeypatch):
    monkeypatch.setattr(pace, "decode_s", 0.002)
    pace.note_step(1.0)
    assert pace.decode_s == pytest.approx(0.0021)
    for _ in range(50):
        pace.note_step(0.008)
    assert pace.decode_s == 0.008
    pace.note_step(0.003)
    assert pace.decode_s == 0.003


def test_what_was_measured_makes_sense(pace):
    assert pace._base >= 0 and pace._per_token > 0 and pace._growth >= 0 and pace.decode_s > 0
    assert 16 <= pace.tokens(0) <= _MOST
