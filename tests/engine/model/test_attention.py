"""What prefill's attention on a CPU reads of the past where a layer slides."""

import pytest
import torch

from assistant.engine.model import attention
from assistant.engine.model.attention import Shape


@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize("tokens", [1, 16, 64, 100, 333])
@pytest.mark.parametrize("length", [333, 640])
@pytest.mark.parametrize("sliding", [None, 1, 50, 128, 500])
def test_only_what_is_seen_is_converted_and_the_bits_are_the_same(
    monkeypatch, kv_heads, tokens, length, sliding
):
    draw = torch.Generator().manual_seed(0)
    kv = torch.randn(length, 2 * kv_heads, 16, generator=draw).bfloat16()
    query = torch.randn(length, 4, 16, generator=draw).bfloat16()
    shape, most = Shape(0.25, kv_heads, sliding), []
    whole = attention.prefill(query, kv, shape)  # its first block sees the beginning
    block = attention._block

    def watched(query, past, *rest):
        most.append(past.untyped_storage().nbytes() // past[:, 0].nbytes)
        return block(query, past, *rest)

    monkeypatch.setattr(attention, "_block", watched)
    assert torch.equal(attention.prefill(query[-tokens:], kv, shape), whole[-tokens:])
    if sliding:
        assert max(most) < tokens + sliding + 3 * 64
