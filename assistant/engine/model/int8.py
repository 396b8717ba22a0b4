"""Weights as 8-bit integers: symmetric, one scale for each output row (absmax quantisation,
LLM.int8(), arXiv:2208.07339, section 2). Knows tensors; where int8 is used is decided elsewhere.

The scales are bfloat16: torch's int8 product wants them in the dtype of its activations, and its
fast kernels take bfloat16 ones. That costs nothing, since the values are rounded against the scale
as it is stored: rounding it moves the grid, and no weight is further than half a step from it.
"""

from typing import NamedTuple

import torch

LARGEST = 127  # -128 stays unused, so that the grid is symmetric
SCALE_DTYPE = torch.bfloat16
_ROWS = 256  # quantised at once: 25 MB in float32 at 24,576 columns


class Quantized(NamedTuple):
    """values: int8, [out, in]. scales: bfloat16, [out]. The weight is values x scales, by rows."""

    values: torch.Tensor
    scales: torch.Tensor


def quantize(weight: torch.Tensor) -> Quantized:
    """`weight` [out, in], of any floating dtype, on its device.

    A row of zeros gets the scale 1; one that holds NaN or infinity gets such a scale, so that what
    is computed with it is not finite either.
    """
    values = torch.empty_like(weight, dtype=torch.int8, memory_format=torch.contiguous_format)
    scales = torch.empty(len(weight), dtype=SCALE_DTYPE, device=weight.device)
    blocks = zip(weight.split(_ROWS), values.split(_ROWS), scales.split(_ROWS), strict=True)
    for rows, integers, scale in blocks:
        rows = rows.float()
        scale.copy_(rows.abs().amax(1) / LARGEST)
        scale.masked_fill_(scale == 0, 1)
        integers.copy_((rows / scale[:, None].float()).round_().clamp_(-LARGEST, LARGEST))
    return Quantized(values, scales)


def dequantize(quantized: Quantized, dtype: torch.dtype) -> torch.Tensor:
    """[out, in] in `dtype`: exact in float32, in a narrower one rounded once."""
    return quantized.values * quantized.scales.to(dtype)[:, None]


def quantized_bytes(shape: tuple[int, ...]) -> int:
    """Bytes that a weight of `shape` (out, in) takes as a Quantized."""
    rows, width = shape
    return rows * (width + SCALE_DTYPE.itemsize)
