"""The decode pass with int8 or int4 weights on a CPU, written flat.

A token's products take about as long there as calling the operators does, so this one function
spells out what model.py composes of layers, with as few operators and Python calls as it can, and
all of them on bfloat16: torch's products are fast for no other activations. Knows the tensors of
model.py's layers; no requests.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from assistant.engine.model.attention import Shape
from assistant.engine.model.config import Activation
from assistant.engine.model.norm import Norm
from assistant.engine.model.rotate import Turn, turned


class Product(NamedTuple):
    """operator(rows, *weights), and the bias to be added."""

    operator: Callable[..., Tensor]
    weights: tuple[Any, ...]
    bias: Tensor | None


class Layer(NamedTuple):
    """One of model.py's layers. The norms are the arguments of torch.layer_norm behind the rows;
    without a bias they are for _rms_norm."""

    norm_1: tuple[Any, ...]
    qkv: Product
    out: Product
    norm_2: tuple[Any, ...]
    up: Product
    down: Product
    attention: Shape


def norm_arguments(norm: Norm) -> tuple[Any, ...]:
    weight = norm.weight if norm.bias is not None else norm.weight.repeat(2)
    return weight.shape, weight, norm.bias, norm.epsilon


def _rms_norm(x: Tensor, *arguments: Any) -> Tensor:
    """torch's own is ten operators on a CPU. A row with its opposite behind it has the mean 0, so
    that its variance is the row's mean square: LayerNorm, which is one operator, does the rest."""
    return torch.layer_norm(torch.cat((x, -x), -1), *arguments)[:, : x.shape[-1]].contiguous()


def decode(
    layers: Sequence[Layer],
    x: Tensor,
    cache: Tensor,
    slots: Sequence[int],
    positions: Sequence[int],
    heads: int,
    head_dim: int,
    activation: Activation,
    gated: bool,
    turn: Turn | None,
) -> Tensor:
    """The last hidden states, bfloat16 [rows, width], after single tokens.

    x: bfloat16 [rows, width], tokens and positions embedded. cache: bfloat16, the layers' own part
    of model.KV. slots, positions: one for each row. turn: of rotary positions. A row's result does
    not depend on the others, to the last bit, nor on the number of threads: the heads of one K/V
    head are two halves, each computed by one.
    """
    norm = _rms_norm if layers[0].norm_1[2] is None else torch.layer_norm
    attend = torch._C._nn.scaled_dot_product_attention
    silu, gelu = torch._C._nn.silu_, torch._C._nn.gelu_  # type: ignore[attr-defined]  # no stub
    approximate = "tanh" if activation == "gelu_tanh" else "none"
    width, count = heads * head_dim, len(slots)
    kv_heads = layers[0].attention.kv_heads
    halves, keys_end = 2 - heads % 2, width + kv_heads * head_dim
    places = list(zip(range(count), slots, positions, strict=True))
    for layer, kv in zip(layers, cache.unbind(0), strict=True):
        operator, weights, bias = layer.qkv
        qkv = operator(norm(x, *layer.norm_1), *weights)
        if bias is not None:
            qkv.add_(bias)
        if turn is not None:
            both = qkv[:, :keys_end].view(count, -1, head_dim)
            both.copy_(turned(both, turn))
        for row, slot, position in places:
            kv[slot, position] = qkv[row, width:].view(-1, head_dim)
        mixed = []
        scale, _, sliding = shape = layer.attention
        for row, slot, position in places:
            past = kv[slot, (sliding and shape.first(position)) or 0 : position + 1]
            if kv_heads == 1:
                query = qkv[row, :width].view(1, halves, -1, head_dim)  # the heads as rows of two
                key, value = (part.expand(1, halves, -1, -1) for part in past.unbind(1))
            else:
                query = qkv[row, :width].view(1, kv_heads, -1, head_dim)
                key, value = past.transpose(0, 1)[None].split(kv_heads, 1)
            mixed.append(attend(query, key, value, scale=scale))
        rows = (mixed[0] if count == 1 else torch.cat(mixed)).view(-1, width)
        operator, weights, bias = layer.out
        delta = operator(rows, *weights)
        x = (delta if bias is None else delta.add_(bias)).add_(x)
        operator, weights, bias = layer.up
        hidden = operator(norm(x, *layer.norm_2), *weights)
        if bias is not None:
            hidden.add_(bias)
        if gated:
            gate, hidden = hidden.chunk(2, dim=-1)
            gate = silu(gate) if activation == "silu" else gelu(gate, approximate=approximate)
            hidden = gate * hidden
        elif activation == "silu":
            silu(hidden)
        else:
            gelu(hidden, approximate=approximate)
        operator, weights, bias = layer.down
        delta = operator(hidden, *weights)
        x = (delta if bias is None else delta.add_(bias)).add_(x)
    return x
