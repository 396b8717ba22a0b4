"""The linear layers: dense ones, and int8 weights with wider activations.

A layer's product must not depend on which other rows are computed with it, so that a reply is the
same alone and in company. Knows weights and rows, not what stands before or behind them.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from assistant.engine import kernels
from assistant.engine.int8 import Quantized, dequantize

# Below 8 rows the CPU's float32 product (MKL) sums in another order than from 8 rows on, and it is
# no faster there: fewer rows are filled up.
_ROWS = 8
_KERNEL_ROWS = 64  # what the int8 kernel on CUDA takes; beyond, dequantised weights are faster


class Dense(NamedTuple):
    """weight: [out, in]. bias: [out] or None. Rows in another dtype are converted and back."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __call__(self, x):
        rows = x.shape[0]
        if rows < _ROWS and x.device.type == "cpu" and self.weight.dtype is torch.float32:
            return F.linear(F.pad(x, (0, 0, 0, _ROWS - rows)), self.weight, self.bias)[:rows]
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias).to(x.dtype)


class Int8(NamedTuple):
    """weight: int8 [out, in] and a scale for each row of it. bias: [out] or None.

    The activations are rounded to bfloat16 on the CPU: torch's operator is fast for no other.
    """

    weight: Quantized
    bias: torch.Tensor | None

    def __call__(self, x):
        values, scales = self.weight
        if x.device.type == "cpu":
            rows = x.to(torch.bfloat16)
            out = torch.ops.aten._weight_int8pack_mm.default(rows, values, scales)
            # The sum takes the wider of the two dtypes, which is that of x.
            return out.to(x.dtype) if self.bias is None else out + self.bias
        if x.shape[0] <= _KERNEL_ROWS and kernels.available(x.device):
            return kernels.int8_linear(x, values, scales, self.bias)
        return F.linear(x, dequantize(self.weight, x.dtype), self.bias)
