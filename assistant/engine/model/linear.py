"""The linear layers: dense ones, and int8 weights with wider activations.

A layer's product must not depend on which other rows are computed with it, so that a reply is the
same alone and in company. Libraries choose another kernel, and with it another order of summing,
by a product's shape; so on a CPU dense products run in tiles of a fixed number of rows, the last
one filled up. Knows weights and rows, not what stands before or behind them.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from assistant.engine.device import on_card
from assistant.engine.model import kernels
from assistant.engine.model.int4 import Int4, Packed
from assistant.engine.model.int8 import Quantized, dequantize

# Rows of a tile. Decode has few rows; for many, larger tiles read the weights less often. bfloat16
# is the faster the more rows there are: measured on a Xeon with AMX, 128 rows at once take 6 % more
# time a row than 512 do, and 64 rows 30 to 50 % more.
DECODE_TILE = 16
PREFILL_TILE = {torch.float32: 64, torch.bfloat16: 128}
_COLUMNS = 32  # MKL's sums for columns that are left over depend on a row's place
# Up to these the int8 kernel on CUDA reads the weights again for every 64 rows; beyond, it is less
# work to make them dense first.
_KERNEL_ROWS = 256


class Dense(NamedTuple):
    """weight: [out, in]. bias: [out]. Rows in another dtype are converted and back.

    out: the columns of a result, where the weight has rows of zeros behind those.
    tiles: the numbers of rows that a product on a CPU may have, largest first; what a large tile
    would be half empty for takes the small one. Empty: all rows at once, on CUDA.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    tiles: tuple[int, ...] = ()
    out: int | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.to(self.weight.dtype)
        if not self.tiles:
            return F.linear(rows, self.weight, self.bias).to(x.dtype)
        out = [self._product(tile) for tile in in_tiles(rows, self.tiles)]
        return (out[0] if len(out) == 1 else torch.cat(out))[: len(x), : self.out].to(x.dtype)

    def _product(self, rows: torch.Tensor) -> torch.Tensor:
        out, width = self.weight.shape
        if rows.dtype is not torch.float32:
            return F.linear(rows, self.weight, self.bias)
        # As a batch of two, each half is computed by one thread where there are up to two. MKL
        # divides a single product among threads by its rows, or by its sums: then the bits depend
        # on how many there are, and on a row's place. With more threads it may do so with a half.
        halves = self.weight.view(2, out // 2, width).transpose(1, 2)
        both = torch.bmm(rows.expand(2, -1, -1), halves).transpose(0, 1).reshape(-1, out)
        return both if self.bias is None else both.add_(self.bias)


def dense(
    weight: torch.Tensor, bias: torch.Tensor | None, tile: int, tried: dict[object, bool]
) -> Dense:
    """A Dense in tiles of `tile` rows on a CPU. Where a quarter of that gives the same bits, few
    rows take such smaller tiles. tried: whether it does, by the weight's shape: that, and not its
    values, decides which kernel computes a product."""
    if on_card(weight.device):
        return Dense(weight, bias)
    out = len(weight)
    if weight.dtype is torch.float32 and (missing := -out % _COLUMNS):
        weight = F.pad(weight, (0, 0, 0, missing))
        bias = bias if bias is None else F.pad(bias, (0, missing))
    small = tile // 4
    key = (*weight.shape, weight.dtype, tile)
    if small >= DECODE_TILE and key not in tried:
        draw = torch.Generator().manual_seed(0)
        rows = torch.randn(tile, weight.shape[1], generator=draw).to(weight.dtype)
        few, many = (Dense(weight, None, (size,))(rows) for size in (small, tile))
        tried[key] = torch.equal(few, many)
    return Dense(weight, bias, (tile, small) if tried.get(key) else (tile,), out)


def in_tiles(rows: torch.Tensor, tiles: tuple[int, ...]) -> list[torch.Tensor]:
    """`rows` [n, width] in parts of just as many as `tiles` name, zeros behind the last ones."""
    large, small = tiles[0], tiles[-1]
    whole = len(rows) // large * large
    rest = len(rows) - whole
    parts = [*rows[:whole].split(large)] if whole else []
    if rest:
        size = small if rest <= large // 2 else large
        parts += F.pad(rows[whole:], (0, 0, 0, -rest % size)).split(size)
    return parts


class Int8(NamedTuple):
    """weight: int8 [out, in] and a scale for each row of it. bias: [out].

    On the CPU the product is of bfloat16 rows: torch's operator takes no others with such scales.
    """

    weight: Quantized
    bias: torch.Tensor | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        values, scales = self.weight
        if not on_card(x.device):
            product = torch.ops.aten._weight_int8pack_mm.default
            out = product(x.to(scales.dtype), values, scales).to(x.dtype)
            return out if self.bias is None else out.add_(self.bias)
        if x.shape[0] <= _KERNEL_ROWS and kernels.path.int8:
            return kernels.int8_linear(x, values, scales, self.bias)
        return F.linear(x, dequantize(self.weight, x.dtype), self.bias)


Weight = torch.Tensor | Quantized | Packed
Linear = Dense | Int8 | Int4


def small(weight: Quantized | Packed, bias: torch.Tensor | None) -> Int8 | Int4:
    return Int4(weight, bias) if isinstance(weight, Packed) else Int8(weight, bias)
