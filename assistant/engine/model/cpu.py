"""The decode pass with int8 weights on a CPU, written flat.

A token's products take about as long there as calling the operators does, so this one function
spells out what model.py composes of layers, with as few operators and Python calls as it can, and
all of them on bfloat16: torch's int8 product is fast for no other activations. Knows the tensors of
model.py's layers; no requests.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from assistant.engine.model.int8 import Quantized


class Layer(Protocol):
    """One of model.py's layers with Int8 linear layers, all of them with a bias."""

    norm_1: tuple[Tensor, Tensor, float]
    qkv: tuple[Quantized, Tensor]
    attn_out: tuple[Quantized, Tensor]
    norm_2: tuple[Tensor, Tensor, float]
    up: tuple[Quantized, Tensor]
    down: tuple[Quantized, Tensor]


def decode(
    layers: Sequence[Layer],
    x: Tensor,
    cache: Tensor,
    slots: Sequence[int],
    positions: Sequence[int],
    heads: int,
    scale: float,
    gelu: str,
) -> Tensor:
    """The last hidden states, bfloat16 [rows, width], after single tokens.

    x: bfloat16 [rows, width], tokens and positions
    embedded. cache: bfloat16, see Model.kv_shape. slots, positions: one for each row. gelu: the
    `approximate` of F.gelu. A row's result does not depend on the others, to the last bit, nor on
    the number of threads: the heads are two halves, each computed by one.
    """
    width = x.shape[1]
    head_dim, halves = width // heads, 2 - heads % 2
    shape = (width,)
    norm, gelu_ = torch.layer_norm, torch._C._nn.gelu_  # type: ignore[attr-defined]  # no stub
    product = torch.ops.aten._weight_int8pack_mm.default
    attend = torch._C._nn.scaled_dot_product_attention
    places = list(zip(range(len(slots)), slots, positions, strict=True))
    for layer, kv in zip(layers, cache.unbind(0), strict=True):
        weight, bias, epsilon = layer.norm_1
        (values, scales), shift = layer.qkv
        qkv = product(norm(x, shape, weight, bias, epsilon), values, scales).add_(shift)
        for row, slot, position in places:
            kv[slot, position] = qkv[row, width:]
        mixed = []
        for row, slot, position in places:
            query = qkv[row, :width].view(1, halves, -1, head_dim)  # the heads as rows of two
            past = kv[slot, : position + 1].expand(1, halves, -1, -1)
            mixed.append(attend(query, past[..., :head_dim], past[..., head_dim:], scale=scale))
        rows = (mixed[0] if len(mixed) == 1 else torch.cat(mixed)).view(-1, width)
        (values, scales), shift = layer.attn_out
        x = product(rows, values, scales).add_(shift).add_(x)
        weight, bias, epsilon = layer.norm_2
        (values, scales), shift = layer.up
        hidden = product(norm(x, shape, weight, bias, epsilon), values, scales).add_(shift)
        (values, scales), shift = layer.down
        x = product(gelu_(hidden, approximate=gelu), values, scales).add_(shift).add_(x)
    return x
