"""A layer's parts, and the layers in parts: those of one device after those of another.

Knows tensors and where they lie; what a layer computes is model.py's and cpu.py's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, cast

import torch
from torch import Tensor

from assistant.engine.device import on_card
from assistant.engine.model import attention, cpu
from assistant.engine.model.int4 import Int4, multiply
from assistant.engine.model.int8 import Quantized
from assistant.engine.model.linear import Dense, Linear
from assistant.engine.model.norm import Norm
from assistant.engine.model.rotate import Turn


@dataclass(frozen=True, slots=True)
class Layer:
    """up: where the MLP is gated, the gate's rows, then the others."""

    norm_1: Norm
    qkv: Linear
    out: Linear
    norm_2: Norm
    up: Linear
    down: Linear
    attention: attention.Shape


class Part(NamedTuple):
    """Layers that follow one another on `device`: for many rows, for few rows, and the same as
    cpu.py computes them, where it does."""

    device: torch.device
    prefill: Sequence[Layer]
    decode: Sequence[Layer]
    flat: Sequence[cpu.Layer]


class Rows(NamedTuple):
    """Tokens on their way through the layers. x: hidden states [rows, width]. slots, positions:
    int64 [rows]. turn: of rotary positions. All on one device."""

    x: Tensor
    slots: Tensor
    positions: Tensor
    turn: Turn | None

    def to(self, device: torch.device) -> "Rows":
        if self.x.device == device:
            return self
        x, slots, positions, turn = self
        turn = turn and Turn(*(part.to(device) for part in turn))
        return Rows(x.to(device), slots.to(device), positions.to(device), turn)


def in_parts(prefill: Sequence[Layer], decode: Sequence[Layer]) -> Iterator[Part]:
    """The layers of a model, made for many rows and for few, in the same order."""
    flat = not any(isinstance(layer.up, Dense) or on_card(place(layer)) for layer in decode)
    for device, pairs in groupby(zip(prefill, decode, strict=True), lambda pair: place(pair[1])):
        many, few = zip(*pairs, strict=True)
        yield Part(device, many, few, [_flatten(layer) for layer in few] if flat else [])


def place(layer: Layer) -> torch.device:
    """Where it lies."""
    return layer.norm_1.weight.device


def told(places: Sequence[torch.device], parts: Sequence[Part]) -> str:
    """`places`, as people read them: of several, how many layers of `parts` are where."""
    if len(places) == 1:
        return str(places[0])
    counts = [sum(len(part.decode) for part in parts if part.device == each) for each in places]
    layers = "layer" if counts[0] == 1 else "layers"
    texts = [f"{count} on {place}" for count, place in zip(counts, places, strict=True)]
    return " + ".join(texts).replace(" on", f" {layers} on", 1)


def _flatten(layer: Layer) -> cpu.Layer:
    def product(linear: Linear) -> cpu.Product:
        if isinstance(linear, Int4):
            return cpu.Product(multiply, (linear.weight,), linear.bias)
        operator = torch.ops.aten._weight_int8pack_mm.default
        return cpu.Product(operator, tuple(cast(Quantized, linear.weight)), linear.bias)

    norm_1, norm_2 = (cpu.norm_arguments(norm) for norm in (layer.norm_1, layer.norm_2))
    qkv, out, up, down = map(product, (layer.qkv, layer.out, layer.up, layer.down))
    return cpu.Layer(norm_1, qkv, out, norm_2, up, down, layer.attention)
