"""Multi-query attention of one request's new tokens over its own keys and values.

All query heads share one key and one value head (Shazeer 2019, arXiv:1911.02150), so K and V are
read once and never repeated per head. Knows no slots, layers or batches.
"""

import torch
import torch.nn.functional as F


def attend(query, key, value, scale):
    """Causal attention of the last T positions over all L.

    query: [T, heads, head_dim]. key, value: [L, head_dim], L >= T; the last T rows are the new
    tokens' own. Returns [T, heads, head_dim], all of one dtype.
    """
    tokens, length = query.shape[0], key.shape[0]
    if tokens == 1:
        # The heads stand as rows of a single query: one pass over K and V for all of them.
        return F.scaled_dot_product_attention(
            query[None], key[None, None], value[None, None], scale=scale
        )[0]
    heads = query.shape[1]
    out = F.scaled_dot_product_attention(
        query.transpose(0, 1)[None],
        key.expand(1, heads, length, -1),
        value.expand(1, heads, length, -1),
        attn_mask=None if tokens == length else _suffix_mask(tokens, length, query.device),
        is_causal=tokens == length,
        scale=scale,
    )
    return out[0].transpose(0, 1)


def _suffix_mask(tokens, length, device):
    """[T, L], true where new token t may look: at every position up to its own, L - T + t."""
    return torch.ones(tokens, length, dtype=torch.bool, device=device).tril(length - tokens)
