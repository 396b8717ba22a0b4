"""Replies in 8 and 4 bits: finite, and how far they are from float32 is printed, not judged."""

import math

import pytest

from assistant.completion.inspector import score
from assistant.engine.protocol import Finished, Piece
from tests.real.compare import compare
from tests.real.texts import TEXTS
from tests.support.reading import greedy

pytestmark = pytest.mark.real

TOP, PROMPT, NEW = 20, 100, 128  # PROMPT and NEW: tokens


def read(stream):
    """The ids that are written, and what was thought of each."""
    new, thought, end = [], [], None
    for item in stream:
        if isinstance(item, Piece):
            new += item.ids
            thought += item.logprobs
        elif isinstance(item, Finished):
            end = item
    assert (end.reason, len(new)) == ("length", NEW)
    return new, thought


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_smaller_weights_write(engine, opened, dtype):
    given, exact = [], []
    with opened(dtype) as small:
        assert dtype in small.numerics
        prompts = [engine.tokenizer.encode(text)[:PROMPT] for text in TEXTS.values()]
        streams = [small.generate(greedy(ids, NEW, logprobs=TOP)) for ids in prompts]
        for ids, stream in zip(prompts, streams, strict=True):
            new, thought = read(stream)
            assert all(math.isfinite(each.logprob) for each in thought)
            given += [each.top for each in thought]
            exact += [
                [(id, logprob) for id, _, logprob in token.top]
                for token in score(engine, ids, new, TOP)
            ]
    same, apart = compare(exact, given)
    print(f"{dtype}: float32 has the same likeliest token at {same:.1%} of {len(given)} positions, "
          f"a divergence of {apart:.4f}")  # fmt: skip
