"""Multi-query attention over the KV cache: prefill of a chunk, and decode of single rows.

All query heads share one key and one value head (Shazeer 2019, arXiv:1911.02150), so K and V are
read once and never repeated per head. Knows one layer of the cache; no requests.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.engine.device import on_card
from assistant.engine.model import kernels

Places = Tensor | Sequence[int]
_BLOCK = 64  # new tokens whose scores the CPU holds at once: they stay in its cache
_AHEAD = torch.full((_BLOCK, _BLOCK), -torch.inf).triu(1)


def prefill(query: Tensor, kv: Tensor, scale: float) -> Tensor:
    """Causal attention of a chunk, the last T of L positions.

    query: [T, heads, head_dim]. kv: [L, 2 x head_dim], keys then values, the chunk's own included.
    Returns [T, heads, head_dim], all of one dtype.
    """
    tokens, heads, _ = query.shape
    length = kv.shape[0]
    if on_card(query.device):
        # It brings torch's compiler along, which takes two seconds and is needed by nothing else.
        from torch.nn.attention.bias import causal_lower_right

        key, value = (t.expand(1, heads, length, -1) for t in kv.chunk(2, dim=-1))
        mask = causal_lower_right(tokens, length)
        out = F.scaled_dot_product_attention(
            query.transpose(0, 1)[None], key, value, attn_mask=mask, scale=scale
        )
        return out[0].transpose(0, 1)
    rows, past = query.float() * scale, F.pad(kv.float(), (0, 0, 0, -length % _BLOCK))
    first = length - tokens
    mixed = []
    for start in range(first // _BLOCK * _BLOCK, length, _BLOCK):
        begin, end = max(start, first), min(start + _BLOCK, length)
        block = F.pad(rows[begin - first : end - first], (0, 0, 0, 0, begin - start, 0))
        block = F.pad(block, (0, 0, 0, 0, 0, _BLOCK - len(block)))
        mixed.append(_block(block, past[: start + _BLOCK], _AHEAD)[begin - start : end - start])
    return torch.cat(mixed).to(query.dtype)


def _block(query: Tensor, past: Tensor, ahead: Tensor | None = None) -> Tensor:
    """Attention of a few tokens in float32, the query scaled already: two plain products.

    past: [L, 2 x head_dim]. ahead: [T, _BLOCK], -inf where a token may not look among the last
    positions; None if all may look at all. A prompt's blocks are whole ones that begin at multiples
    of _BLOCK, so that a token's sums are the same, bit for bit, however it was cut into chunks; and
    products are made by halves, so that up to two threads give the same (linear.py).
    """
    tokens, heads, head_dim = query.shape
    parts = 2 - tokens * heads % 2
    key, value = (half.expand(parts, -1, -1) for half in past.split(head_dim, dim=-1))
    scores = query.reshape(parts, -1, head_dim) @ key.transpose(1, 2)
    if ahead is not None:
        scores.view(tokens, heads, -1)[:, :, -_BLOCK:] += ahead[:, None]
    return (scores.softmax(-1) @ value).view(tokens, heads, head_dim)


def decode(query: Tensor, kv: Tensor, slots: Places, positions: Places, scale: float) -> Tensor:
    """Attention of single tokens, each over all that its slot holds up to it.

    query: [rows, heads, head_dim]. kv: [slots, window, 2 x head_dim]. slots, positions: [rows],
    int64 tensors for the kernels, else lists; two rows may be of one slot. Returns query's shape.
    """
    if isinstance(slots, Tensor) and isinstance(positions, Tensor):
        return kernels.mqa_decode(query, kv, slots, positions, scale)
    rows = (query.float() * scale).split(1)
    spans = [kv[slot, : position + 1] for slot, position in zip(slots, positions, strict=True)]
    mixed = [_block(row, span.float()) for row, span in zip(rows, spans, strict=True)]
    return torch.cat(mixed).to(query.dtype)
