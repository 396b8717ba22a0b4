"""Attention for training: the rows of a batch, each over its own tokens and over a preamble that
all of them share.

On a CPU both halves are torch's fused attention, which keeps no scores, and are joined by their
log-sum-exp. The same number makes the backward pass of each half right by itself: with the joined
result and sum its weights are shares of the whole (arXiv:2205.14135, 3.1). Elsewhere all scores are
at hand. Knows no model.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_fused_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
_AT_ONCE = 4  # parts of the rows that go through the preamble's backward pass side by side


def attend(query: Tensor, key: Tensor, value: Tensor, seen: tuple[Tensor, Tensor] | None) -> Tensor:
    """Multi-query attention of rows, [rows, tokens, heads, head] as query is.

    key, value: [rows, tokens, head]. seen: keys and values that stand before every row, [length,
    head] each, to which no gradient flows; None for none.
    """
    if query.device.type == "cpu":
        args = query.transpose(1, 2), key, value, *(seen or (None, None))
        mixed: Tensor = _Joined.apply(*args)  # type: ignore[no-untyped-call]  # torch's
        return mixed.transpose(1, 2)
    if seen is None:
        shared = (part[:, None].expand(-1, query.shape[2], -1, -1) for part in (key, value))
        rows = query.transpose(1, 2)
        return scaled_dot_product_attention(rows, *shared, is_causal=True).transpose(1, 2)
    return _dense(query, key, value, *seen)


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        keys: Tensor | None,
        values: Tensor | None,
    ) -> Tensor:
        rows, heads, tokens, head = query.shape
        out, total = _fused(query, *_for_heads(query, key, value), 0.0, True)
        if keys is not None and values is not None:
            one = query.reshape(1, 1, -1, head)
            far, far_total = _fused(one, keys[None, None], values[None, None], 0.0, False)
            near_total, far_total = total, far_total.reshape(rows, heads, tokens)
            total = torch.logaddexp(near_total, far_total)
            near_share, far_share = (near_total - total).exp(), (far_total - total).exp()
            out = out * near_share[..., None] + far.view_as(query) * far_share[..., None]
            out = out.to(query.dtype)
        ctx.save_for_backward(query, key, value, keys, values, out, total)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        query, key, value, keys, values, out, total = ctx.saved_tensors
        near = _for_heads(query, key, value)
        of_query, of_key, of_value = _fused_backward(gradient, query, *near, out, total, 0.0, True)
        if keys is not None:
            count = math.gcd(_AT_ONCE, total.numel())
            parts = [part.reshape(1, count, -1, query.shape[3]) for part in (gradient, query, out)]
            before = (part.expand(1, count, -1, -1) for part in (keys, values))
            sums = total.reshape(1, count, -1)
            far, *_ = _fused_backward(*parts[:2], *before, parts[2], sums, 0.0, False)
            of_query = of_query + far.reshape(query.shape)
        return of_query, of_key.sum(1), of_value.sum(1), None, None


def _for_heads(query: Tensor, *shared: Tensor) -> list[Tensor]:
    """One head's keys or values, [rows, tokens, head], as those of every query head."""
    return [part[:, None].expand_as(query) for part in shared]


def _dense(query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    rows, tokens, heads, head = query.shape
    query = query.reshape(rows, tokens * heads, head) * head**-0.5
    scores = torch.bmm(query, key.transpose(1, 2)).view(rows, tokens, heads, tokens)
    later = torch.ones(tokens, tokens, dtype=torch.bool, device=query.device).triu(1)
    scores = scores.masked_fill(later[:, None], -math.inf)
    far = (query.reshape(-1, head) @ keys.T).view(rows, tokens, heads, len(keys))
    weights = torch.cat((far, scores), dim=-1).softmax(-1, dtype=query.dtype)
    far, near = weights.split((len(keys), tokens), dim=-1)
    near = torch.bmm(near.reshape(rows, tokens * heads, tokens), value)
    return (near + (far.reshape(-1, len(keys)) @ values).view_as(near)).view(
        rows, tokens, heads, head
    )
