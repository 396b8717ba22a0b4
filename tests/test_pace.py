"""How long a chunk of a prompt may be beside others that wait for their next token."""

import pytest
import torch

from assistant.engine.cache import Cache
from assistant.engine.pace import Pace
from tests.engines import load_module
from tests.test_model import make_model


@pytest.fixture(scope="module")
def pace(tiny_checkpoint):
    model = make_model(load_module(tiny_checkpoint))
    with torch.inference_mode():
        return Pace(model, Cache(model, 1))


@pytest.fixture
def known(pace, monkeypatch):
    """As if 16 tokens took 2 ms, 32 took 3 ms, 64 took 5 ms, and each pair a microsecond."""
    monkeypatch.setattr(pace, "_sizes", [16, 32, 64])
    monkeypatch.setattr(pace, "_seconds", [0.002, 0.003, 0.005])
    monkeypatch.setattr(pace, "_per_pair", 1e-6)
    return pace


@pytest.mark.parametrize(
    ("decode_s", "start", "size"),
    [
        (0.003, 0, 64),
        (0.002, 0, 32),
        (0.0001, 0, 16),  # something must go on
        (0.003, 50, 32),  # 64 x 50 pairs are 3.2 ms more
        (0.003, 90, 32),
        (0.003, 100, 16),
        (1.0, 8000, 64),
    ],
)
def test_a_chunk_takes_at_most_twice_a_decode_step(known, decode_s, start, size):
    known.decode_s = decode_s
    assert known.tokens(start) == size


def test_what_was_measured_makes_sense(pace):
    assert pace._sizes[:3] == [16, 32, 64] and len(pace._sizes) == len(pace._seconds)
    assert all(seconds > 0 for seconds in [*pace._seconds, pace.decode_s])
    assert pace._sizes[-1] <= 256  # the window
