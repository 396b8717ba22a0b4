"""Attention over the KV cache: prefill of a chunk, and decode of single rows.

Query heads share key and value heads: all of them one (multi-query, Shazeer 2019,
arXiv:1911.02150), or groups (arXiv:2305.13245), down to groups of one. K and V are read once for a
group. Knows one layer of the cache; no requests.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.engine.device import on_card
from assistant.engine.model import kernels

Places = Tensor | Sequence[int]
_BLOCK = 64  # new tokens whose scores the CPU holds at once: they stay in its cache


class Shape(NamedTuple):
    """scale: of scores. kv_heads: heads of keys and values. sliding: how many positions up to its
    own a token sees; None for all."""

    scale: float
    kv_heads: int = 1
    sliding: int | None = None

    def first(self, position: int) -> int:
        """The first position that the one at `position` sees."""
        return 0 if self.sliding is None else max(position + 1 - self.sliding, 0)


def prefill(query: Tensor, kv: Tensor, shape: Shape) -> Tensor:
    """Causal attention of a chunk, the last T of L positions.

    query: [T, heads, head_dim]. kv: [L, 2 x kv_heads, head_dim], keys then values, the chunk's own
    included. Returns [T, heads, head_dim], all of one dtype.
    """
    if on_card(query.device):
        return _prefill_on_card(query, kv, shape)
    tokens, length = len(query), len(kv)
    first = length - tokens
    base = shape.first(first // _BLOCK * _BLOCK) // _BLOCK * _BLOCK  # what the first block sees
    past = F.pad(kv[base:].transpose(0, 1).float(), (0, 0, 0, -length % _BLOCK)).contiguous()
    rows, mixed = query.float() * shape.scale, []
    for start in range(first // _BLOCK * _BLOCK, length, _BLOCK):
        begin, end = max(start, first), min(start + _BLOCK, length)
        block = F.pad(rows[begin - first : end - first], (0, 0, 0, 0, begin - start, 0))
        block = F.pad(block, (0, 0, 0, 0, 0, _BLOCK - len(block)))
        seen = shape.first(start) // _BLOCK * _BLOCK
        sees = past[:, seen - base : start + _BLOCK - base]
        out = _block(block, sees, _hidden(start, seen, shape))
        mixed.append(out[begin - start : end - start])
    return torch.cat(mixed).to(query.dtype)


def _prefill_on_card(query: Tensor, kv: Tensor, shape: Shape) -> Tensor:
    # It brings torch's compiler along, which takes two seconds and is needed by nothing else.
    from torch.nn.attention.bias import causal_lower_right

    tokens, heads, _ = query.shape
    seen = shape.first(len(kv) - tokens)
    kv = kv[seen:]
    length = len(kv)
    key, value = kv.view(length, 2, shape.kv_heads, 1, -1).unbind(1)
    # One head's are read again for each query head; those of several have to be copied for it.
    key, value = (
        t.expand(-1, -1, heads // shape.kv_heads, -1).flatten(1, 2).transpose(0, 1)[None]
        for t in (key, value)
    )
    mask: Tensor = causal_lower_right(tokens, length)
    if shape.sliding is not None and shape.sliding < length:
        positions = torch.arange(length, device=kv.device)
        away = positions[-tokens:, None] - positions
        mask = (away >= 0) & (away < shape.sliding)
    out = F.scaled_dot_product_attention(
        query.transpose(0, 1)[None], key, value, attn_mask=mask, scale=shape.scale
    )
    return out[0].transpose(0, 1)


@functools.cache
def _ahead() -> Tensor:
    # Not made when this file is read: a thread that has once computed with a second one keeps it,
    # and where OpenMP has more threads than cores, all of them wait for each other asleep.
    return torch.full((_BLOCK, _BLOCK), -torch.inf).triu(1)


def _hidden(start: int, seen: int, shape: Shape) -> Tensor | None:
    """What the block from `start` on does not see of the keys from `seen` on, because it is ahead
    or too far behind: -inf there, [_BLOCK, the last _BLOCK keys, or all where any is too far]."""
    if shape.first(start + _BLOCK - 1) == 0:
        return _ahead()
    away = torch.arange(start, start + _BLOCK)[:, None] - torch.arange(seen, start + _BLOCK)
    visible = (away >= 0) & (away < cast(int, shape.sliding))
    return torch.zeros(away.shape).masked_fill_(~visible, -torch.inf)


def _block(query: Tensor, past: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Attention of a few tokens in float32, the query scaled already: two plain products.

    past: [2 x kv_heads, L, head_dim]. hidden: see _hidden; None if all may look at all. A prompt's
    blocks are whole ones that begin at multiples of _BLOCK, so that a token's sums are the same,
    bit for bit, however it was cut into chunks; and products of one K/V head are made by halves, so
    that up to two threads give the same (linear.py).
    """
    tokens, heads, head_dim = query.shape
    kv_heads = len(past) // 2
    key, value = past.split(kv_heads)
    if kv_heads == 1:
        parts = 2 - tokens * heads % 2
        key, value = key.expand(parts, -1, -1), value.expand(parts, -1, -1)
        rows = query.reshape(parts, -1, head_dim)
    else:
        rows = query.view(tokens, kv_heads, -1, head_dim).transpose(0, 1).flatten(1, 2)
    scores = rows @ key.transpose(1, 2)
    if hidden is not None:
        by_token = (
            scores.view(tokens, heads, -1)
            if kv_heads == 1
            else scores.view(kv_heads, tokens, heads // kv_heads, -1)
        )
        by_token[..., -hidden.shape[1] :] += hidden[:, None]
    mixed = scores.softmax(-1) @ value
    if kv_heads == 1:
        return mixed.view(tokens, heads, head_dim)
    return mixed.view(kv_heads, tokens, -1, head_dim).transpose(0, 1).flatten(1, 2)


def decode(query: Tensor, kv: Tensor, slots: Places, positions: Places, shape: Shape) -> Tensor:
    """Attention of single tokens, each over what it sees of its slot up to itself.

    query: [rows, heads, head_dim]. kv: [slots, window, 2 x kv_heads, head_dim]. slots, positions:
    [rows], int64 tensors for the kernels, else lists; two rows may be of one slot. Returns query's
    shape.
    """
    if isinstance(slots, Tensor) and isinstance(positions, Tensor):
        return kernels.decode_attention(query, kv.view(*kv.shape[:2], -1), slots, positions, *shape)
    rows = (query.float() * shape.scale).split(1)
    mixed = [
        _block(row, kv[slot, shape.first(position) : position + 1].transpose(0, 1).float())
        for row, slot, position in zip(rows, slots, positions, strict=True)
    ]
    return torch.cat(mixed).to(query.dtype)
