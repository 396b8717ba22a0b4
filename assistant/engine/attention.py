"""Multi-query attention over the KV cache: prefill of a chunk, and decode of single rows.

All query heads share one key and one value head (Shazeer 2019, arXiv:1911.02150), so K and V are
read once and never repeated per head. Knows one layer of the cache; no requests.
"""

import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right

from assistant.engine import kernels

_BLOCK = 64  # new tokens whose scores the CPU holds at once: they stay in its cache


def prefill(query, kv, scale):
    """Causal attention of a chunk, the last T of L positions.

    query: [T, heads, head_dim]. kv: [L, 2 x head_dim], keys then values, the chunk's own included.
    Returns [T, heads, head_dim], all of one dtype.
    """
    tokens, heads, _ = query.shape
    length = kv.shape[0]
    if query.is_cuda:
        key, value = (t.expand(1, heads, length, -1) for t in kv.chunk(2, dim=-1))
        mask = causal_lower_right(tokens, length)
        out = F.scaled_dot_product_attention(
            query.transpose(0, 1)[None], key, value, attn_mask=mask, scale=scale
        )
        return out[0].transpose(0, 1)
    rows, past = query.float() * scale, kv.float()
    first = length - tokens
    mixed = [
        _block(rows[start : start + _BLOCK], past[: first + min(start + _BLOCK, tokens)])
        for start in range(0, tokens, _BLOCK)
    ]
    return torch.cat(mixed).to(query.dtype)


def _block(query, kv):
    """prefill() of at most _BLOCK tokens in float32, the query scaled already: two plain products,
    bit for bit the same for a token whatever else is in its block."""
    tokens, heads, head_dim = query.shape
    length = kv.shape[0]
    key, value = kv.split(head_dim, dim=-1)
    scores = query.reshape(tokens * heads, head_dim) @ key.T
    if tokens > 1:
        ahead = torch.full((tokens, tokens), -torch.inf).triu(1)
        scores.view(tokens, heads, length)[:, :, length - tokens :] += ahead[:, None]
    return (scores.softmax(-1) @ value).view(tokens, heads, head_dim)


def decode(query, kv, slots, positions, scale):
    """Attention of single tokens, each over all that its slot holds up to it.

    query: [rows, heads, head_dim]. kv: [slots, window, 2 x head_dim]. slots, positions: [rows],
    int64 tensors for the kernels, else lists; two rows may be of one slot. Returns query's shape.
    """
    if on_kernels(query.device, *query.shape[1:]):
        return kernels.mqa_decode(query, kv, slots, positions, scale)
    rows = (query.float() * scale).split(1)
    spans = [kv[slot, : position + 1] for slot, position in zip(slots, positions, strict=True)]
    mixed = [_block(row, span.float()) for row, span in zip(rows, spans, strict=True)]
    return torch.cat(mixed).to(query.dtype)


def on_kernels(device, heads, head_dim):
    """Whether decode() runs on the kernels for CUDA, and so can be captured in a graph."""
    return kernels.available(device) and kernels.supported(heads, head_dim)
