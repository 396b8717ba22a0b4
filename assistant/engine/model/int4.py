"""Weights as 4-bit integers: each group of inputs of a row has a scale and a zero of its own, for
torch's own int4 products. Knows tensors; where int4 is used is decided elsewhere.

A weight is (integer - 8) x scale + zero, the integer 0 to 15, scale and zero in bfloat16 (PyTorch,
aten/src/ATen/native/cpu/int4mm_kernel.cpp; cuda/int4mm.cu rounds it to bfloat16 as well). Integers
are rounded against scale and zero as they are stored.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.engine.device import on_card

# Inputs of a group. 64 would take a tenth less memory and no less time, and diverges a fifth more
# (benchmarks/int4.py); GGUF files have 32, so that theirs stay what they are.
GROUP = 32
GROUPS = (32, 64, 128, 256)  # that torch's products take
_ROWS = 256  # quantised at once: a multiple of the 64 that a packed block has at most
_OUT = 16  # the operators want so many outputs, or a multiple


class Packed(NamedTuple):
    """values: the integers, two in a byte, in the order that the device's product wants. On a CPU
    that differs between processors: nothing to be saved. grids: bfloat16 [groups, out, 2], scale
    and zero. Both have what is missing to whole groups, and to a multiple of 16 outputs, as zeros.
    shape: (out, in) without those. group: inputs of a group."""

    values: Tensor
    grids: Tensor
    shape: tuple[int, int]
    group: int


def quantize(weight: Tensor, group: int = GROUP) -> Packed:
    """`weight` [out, in], of any floating dtype, on its device.

    A row that holds NaN or infinity gives results that are not finite either.
    """
    out, width = weight.shape
    values, grids = [], []
    for rows in weight.split(_ROWS):
        rows = F.pad(rows.float(), (0, -width % group, 0, -len(rows) % _OUT))
        integers, scale, zero = _fit(rows.reshape(len(rows), -1, group))
        values.append(_pack(integers.view(rows.shape)))
        grids.append(torch.cat([scale, zero], 2).to(torch.bfloat16).transpose(0, 1))
    return Packed(torch.cat(values), torch.cat(grids, 1).contiguous(), (out, width), group)


def multiply(x: Tensor, weight: Packed) -> Tensor:
    """x @ weight.T, [rows, out] in x's dtype, for `x` [rows, in]. The product itself is of bfloat16
    rows, and on x86 fast for no others. A row's result does not depend on the others on a CPU, nor
    on the number of threads: each of its sums is added up in the inputs' order."""
    values, grids, (out, width), group = weight
    rows = x.to(torch.bfloat16)
    missing = -width % group
    rows = F.pad(rows, (0, missing)) if missing else rows.contiguous()
    if not on_card(x.device):
        product = torch.ops.aten._weight_int4pack_mm_for_cpu.default(rows, values, group, grids)
    elif len(rows) <= FEW_ROWS:
        product = torch.ops.aten._weight_int4pack_mm.default(rows, values, group, grids)
    else:
        product = torch.cat([F.linear(rows, part) for part in _dense(weight)], 1)
    return product[:, :out].to(x.dtype)


def int4_bytes(shape: tuple[int, ...], group: int = GROUP) -> int:
    """Bytes that a weight of `shape` (out, in) takes as a Packed."""
    out, groups = shape[0] + -shape[0] % _OUT, -(-shape[1] // group)
    return out * groups * (group // 2 + 2 * torch.bfloat16.itemsize)


class Int4(NamedTuple):
    """A linear layer of `weight`. bias: [out]."""

    weight: Packed
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        product = multiply(x, self.weight)
        return product if self.bias is None else product.add_(self.bias)


# -- the nearest grid -------------------------------------------------------------------------


def _fit(groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(integers 0 to 15, scale, zero) for float32 [rows, groups, inputs]: of some grids the one
    with the least squared error. With a last one by least squares, for the integers of the best of
    the others, the next token's distribution diverges a sixth less than with the first alone."""
    best: tuple[Tensor, ...] = ()
    for scale, zero in _grids(groups):
        best = _better(groups, scale, zero, best)
    integers = _round(groups, *best[1:])
    off_mean = integers - integers.mean(-1, keepdim=True)
    scale = (off_mean * groups).sum(-1, keepdim=True) / off_mean.square().sum(-1, keepdim=True)
    zero = groups.mean(-1, keepdim=True) - scale * integers.mean(-1, keepdim=True)
    _, scale, zero = _better(groups, scale, zero, best)
    return _round(groups, scale, zero).nan_to_num_().add_(8), scale, zero


def _grids(groups: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """(scale, zero) of: the span from least to largest in 15 steps; in 14, as some groups of GGUF's
    Q4_K have it; and 8 steps of zero's either side up to the largest weight, as Q4_0 has it."""
    low, high = groups.aminmax(dim=-1, keepdim=True)
    for steps in (15, 14):
        scale = (high - low) / steps
        yield scale, low + 8 * scale
    scale = torch.maximum(high, -low) / 8
    yield scale, scale * (high > -low)


def _better(groups: Tensor, scale: Tensor, zero: Tensor, best: tuple[Tensor, ...]) -> tuple:
    """(error, scale, zero), group by group of this grid, as it is stored, or of `best`."""
    scale, zero = (each.to(torch.bfloat16).float() for each in (scale, zero))
    error = _round(groups, scale, zero).mul_(scale).add_(zero).sub_(groups).square_()
    new = error.sum(-1, keepdim=True), scale, zero
    if not best:
        return new
    return tuple(torch.where(new[0] < best[0], *pair) for pair in zip(new, best, strict=True))


def _round(groups: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """The integers less 8, as float32."""
    return (groups - zero).div_(scale).round_().clamp_(-8, 7)


# -- the order in memory ----------------------------------------------------------------------

# Up to these the product on CUDA reads the weights again for every 16 rows; beyond, it is less work
# to make them dense first. Reckoned, not measured.
FEW_ROWS = 128
_TILE = 16  # inputs


def _pack(integers: Tensor) -> Tensor:
    """The integers, [out, in], as the product of their device reads them."""
    if not on_card(integers.device):
        return torch.ops.aten._convert_weight_to_int4pack_for_cpu(integers.int(), 1)
    integers = integers.to(torch.uint8)
    pairs = 16 * integers[:, ::2] + integers[:, 1::2]
    tiles = integers.shape[1] // _TILE
    inner = next(count for count in (8, 4, 2) if tiles % count == 0)  # the most is the fastest
    return torch.ops.aten._convert_weight_to_int4pack(pairs, inner)


def _dense(weight: Packed) -> Iterator[Tensor]:
    """The weight that is packed on a card, bfloat16 [_ROWS, in] at a time.

    values: int32 [out / 8, in / (16 x inner), 32, inner / 2]. Of the 32 lanes 4 follow one another
    in an output; an int32 has 8 inputs of two tiles, those with an odd place behind the others
    (cuda/int4mm.cu, matrix_to_m16n8k16_Bint4_layout).
    """
    values, grids, _, group = weight
    width = len(grids) * group
    for words, grid in zip(values.split(_ROWS // 8), grids.split(_ROWS, 1), strict=True):
        tiles, outer, _, inner = words.shape
        octets = words.contiguous().view(torch.uint8).view(tiles, outer, 8, 4, inner, 2, 2)
        places = torch.stack([octets & 15, octets >> 4], -1)  # odd, half, and low or high: 4 of 8
        places = places.view(tiles, outer, 8, 4, inner, 2, 4)  # ... odd, which 8 of 32
        integers = places.permute(0, 2, 1, 4, 6, 3, 5).reshape(8 * tiles, -1, group)
        scale, zero = grid.transpose(0, 1).unsqueeze(-1).unbind(2)
        yield ((integers.to(grids.dtype) - 8) * scale + zero).view(-1, width)
