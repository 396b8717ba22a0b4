"""The linear layers: dense ones, and int8 weights with wider activations.

A layer's product must not depend on which other rows are computed with it, so that a reply is the
same alone and in company. Knows weights and rows, not what stands before or behind them.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from assistant.engine import kernels
from assistant.engine.int8 import Quantized, dequantize

# The CPU's float32 product (MKL) sums in another order where rows are left over: they are filled up
# to a multiple. That costs little where weights come from memory, up to half where they are small.
_ROWS = 8
# Up to these the int8 kernel on CUDA reads the weights again for every 64 rows; beyond, it is less
# work to make them dense first.
_KERNEL_ROWS = 256


class Dense(NamedTuple):
    """weight: [out, in]. bias: [out] or None. Rows in another dtype are converted and back."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __call__(self, x):
        rows = filled(x.to(self.weight.dtype))
        return F.linear(rows, self.weight, self.bias)[: len(x)].to(x.dtype)


def filled(rows):
    """`rows` [n, width], with rows of zeros behind them where a CPU's product needs more."""
    missing = -len(rows) % _ROWS
    if missing and rows.device.type == "cpu" and rows.dtype is torch.float32:
        return F.pad(rows, (0, 0, 0, missing))
    return rows


class Int8(NamedTuple):
    """weight: int8 [out, in] and a scale for each row of it. bias: [out] or None.

    On the CPU for bfloat16 rows: torch's operator is fast for no others.
    """

    weight: Quantized
    bias: torch.Tensor | None

    def __call__(self, x):
        values, scales = self.weight
        if x.device.type == "cpu":
            out = torch.ops.aten._weight_int8pack_mm.default(x, values, scales)
            return out if self.bias is None else out.add_(self.bias)
        if x.shape[0] <= _KERNEL_ROWS and kernels.available(x.device):
            return kernels.int8_linear(x, values, scales, self.bias)
        return F.linear(x, dequantize(self.weight, x.dtype), self.bias)
