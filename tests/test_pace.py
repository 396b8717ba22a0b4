"""How long a chunk of a prompt may be beside others that wait for their next token."""

import pytest
import torch

from assistant.engine.cache import Cache
from assistant.engine.pace import _MOST, Pace
from tests.engines import load_module
from tests.test_model import make_model


@pytest.fixture(scope="module")
def pace(tiny_checkpoint):
    model = make_model(load_module(tiny_checkpoint))
    with torch.inference_mode():
        return Pace(model, Cache(model, 1))


@pytest.mark.parametrize(
    ("decode_s", "start", "size"),
    [
        (0.002, 0, 60),  # 7 ms, less 1 ms, are 60 tokens of 0.1 ms
        (0.002, 1000, 30),  # behind 1,000 tokens each takes 0.2 ms
        (0.004, 1000, 65),
        (0.004, 9000, 16),
        (0.0001, 0, 16),  # something must go on
        (1.0, 0, _MOST),
    ],
)
def test_a_chunk_takes_at_most_three_and_a_half_times_a_decode_step(
    pace, monkeypatch, decode_s, start, size
):
    """As if a chunk took 1 ms, and 0.1 ms a token, and 0.1 ms for each 1,000 pairs."""
    for name, value in {"_base": 1e-3, "_per_token": 1e-4, "_per_pair": 1e-7}.items():
        monkeypatch.setattr(pace, name, value)
    monkeypatch.setattr(pace, "decode_s", decode_s)
    assert pace.tokens(start) == size


def test_one_slow_step_hardly_counts_and_many_do(pace, monkeypatch):
    monkeypatch.setattr(pace, "decode_s", 0.002)
    pace.decoded(1.0)
    assert pace.decode_s == pytest.approx(0.0021)
    for _ in range(50):
        pace.decoded(0.008)
    assert pace.decode_s == 0.008
    pace.decoded(0.003)
    assert pace.decode_s == 0.003


def test_what_was_measured_makes_sense(pace):
    assert pace._base > 0 and pace._per_token >= 0 and pace._per_pair >= 0 and pace.decode_s > 0
    assert 16 <= pace.tokens(0) <= _MOST
