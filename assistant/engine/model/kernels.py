"""The Triton kernels of the decode step on CUDA: which shapes they take, how they are launched.

Shapes alone decide a launch, never values, so a step can be captured in a CUDA graph once it has
run (a shape's first call compiles). A row's result does not depend on the rows beside it. Kernels
read raw memory, so each wrapper refuses a tensor that would be misread: ValueError. Triton is
imported late: only CUDA machines have it. Knows grids and buffers; the tiles
are triton_programs.py's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assistant.engine import card
from assistant.engine.device import on_card

# Not tuned yet: they follow from arithmetic, not from measurements.
SPLITS = 16  # of a row's keys; an 8192-token window gives 16 programs a row, 512 keys each
HEADS_MAX = 64  # query heads of one K/V head that fit in one tile
BLOCK_OUT, BLOCK_IN = 64, 128  # tile of an int8 weight: 64 is the M of Hopper's wgmma
BLOCK_ROWS_MAX = 64
PROGRAMS = 256  # what a weight should be cut into: about two programs for each of 132 processors
SHARE_MIN = 1024  # inputs that a program sums at least, so that its partial sums cost little
FLOATS = (torch.bfloat16, torch.float16, torch.float32)
# What proof.py adds to plain operations, in this order; each a field of Path, as people read it.
STEPS = {"int8": "int8 kernels", "kernels": "kernels", "graphs": "graphs"}


@dataclass(frozen=True)
class Path:
    """What decode steps on a card run on, beside torch's own operators. int8: the kernel for int8
    weights, which are made dense first without it. kernels: those for attention and norms. graphs:
    captured steps."""

    int8: bool = False
    kernels: bool = False
    graphs: bool = False

    def __str__(self) -> str:
        used = [text for name, text in STEPS.items() if getattr(self, name)]
        return ", ".join(used) or "plain operations"


path = Path()  # of this process's card: what proof.py found right there


def on_kernels(device: torch.device) -> bool:
    """Whether attention and norms run on the kernels, so that a step can be captured."""
    return on_card(device) and path.kernels


def unusable_steps(
    device: torch.device, heads: int, head_dim: int, kv_heads: int = 1
) -> dict[str, str]:
    """Which of the STEPS cannot even be tried on `device`, and why: all that are kernels, or those
    that do not take this shape."""
    if device.type == "cuda" and (why := card.why_no_kernels(device)):
        return {"int8": why, "kernels": why}
    if not is_supported(heads, head_dim, kv_heads):
        return {"kernels": f"no kernel takes {heads} heads of {head_dim} on {kv_heads}"}
    return {}


def is_supported(heads: int, head_dim: int, kv_heads: int = 1) -> bool:
    """Whether `decode_attention` takes this shape: groups of at most 64 heads of 16, 32, 64, or
    128."""
    group, rest = divmod(heads, kv_heads)
    return rest == 0 and 1 <= group <= HEADS_MAX and head_dim in (16, 32, 64, 128)


def decode_attention(
    query: Tensor,
    kv: Tensor,
    slots: Tensor,
    positions: Tensor,
    scale: float,
    kv_heads: int = 1,
    sliding: int | None = None,
) -> Tensor:
    """Attention of single tokens, each over what it sees of its slot up to its own position.

    query: [rows, heads, head_dim] in bfloat16, float16 or float32, `is_supported`. kv: one layer of
    the cache, [slots, window, 2 x kv_heads x head_dim] of the same dtype, keys then values. Both
    may be views with strides as long as the last dimension is dense. slots, positions: int64
    [rows], dense. Row r attends to kv[slots[r], : positions[r] + 1], of that to the last `sliding`,
    and to nothing (zeros) if its position is -1. Returns [rows, heads, head_dim], dense.

    K and V are read once for the heads that share them. Each row's keys are cut into SPLITS equal
    parts (flash decoding, Dao et al. 2023), whatever the number of rows, so that no row's sums
    depend on the others. The cost: a part's partial sums are heads x head_dim in float32, written
    and read once (StarCoder at 6,000 tokens: a quarter of its KV's bytes), which many rows would
    not need.
    """
    from assistant.engine.model import triton_programs

    rows, heads, head_dim = query.shape
    if not is_supported(heads, head_dim, kv_heads):
        raise ValueError(
            f"decode_attention does not take {heads} heads of {head_dim} on {kv_heads}."
        )
    _check("query", query, query, query.shape, FLOATS, strided=True)
    width = 2 * kv_heads * head_dim
    _check("kv", kv, query, (*kv.shape[:2], width), (query.dtype,), strided=True)
    _check("slots", slots, query, (rows,), (torch.int64,))
    _check("positions", positions, query, (rows,), (torch.int64,))
    sums = query.new_empty(rows, SPLITS, heads, head_dim, dtype=torch.float32)
    tops, totals = query.new_empty(2, rows, SPLITS, heads, dtype=torch.float32)
    out = query.new_empty(rows, heads, head_dim)
    group = heads // kv_heads
    with torch.cuda.device_of(query):
        triton_programs.attend_split[rows, SPLITS, kv_heads](
            query,
            kv,
            slots,
            positions,
            sums,
            tops,
            totals,
            scale / math.log(2),
            heads,
            group,
            *query.stride()[:2],
            *kv.stride()[:2],
            SPLITS=SPLITS,
            HEADS=max(16, _power_of_two(group)),
            DIM=head_dim,
            BLOCK=32 if query.dtype is torch.float32 else 64,
            SLIDING=sliding,
            num_warps=_warps(query),
            num_stages=2,
        )
        triton_programs.attend_join[rows, heads](
            sums, tops, totals, out, heads, SPLITS=SPLITS, DIM=head_dim, num_warps=4
        )
    return out


def int8_linear(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """x @ (weight * scale).T + bias: wider activations and int8 weights, read once and as int8.

    x: [rows, in] in bfloat16, float16 or float32, rows may be strided. weight: int8 [out, in],
    dense. scale, bias: [out]. Sums are in float32; returns [rows, out] in x's dtype.
    Meant for the rows of a decode step: every further 64 rows read the weight again.

    Where [out, in] alone gives too few programs, the inputs are split as well and a second kernel
    adds the parts in order, without atomics; rows do not change how.
    """
    from assistant.engine.model import triton_programs

    (rows, inputs), outs = x.shape, weight.shape[0]
    _check("x", x, x, x.shape, FLOATS, strided=True)
    _check("weight", weight, x, (outs, inputs), (torch.int8,))
    _check("scale", scale, x, (outs,), FLOATS)
    if bias is not None:
        _check("bias", bias, x, (outs,), FLOATS)
    block_rows = min(BLOCK_ROWS_MAX, max(16, _power_of_two(rows)))
    splits = _input_splits(outs, inputs)
    out = x.new_empty(rows, outs)
    sums = x.new_empty(splits, rows, outs, dtype=torch.float32) if splits > 1 else out
    with torch.cuda.device_of(x):
        triton_programs.multiply_int8[_parts(rows, block_rows), _parts(outs, BLOCK_OUT), splits](
            x,
            weight,
            scale,
            bias,
            sums,
            rows,
            outs,
            inputs,
            x.stride(0),
            SPLITS=splits,
            ROWS=block_rows,
            BLOCK_OUT=BLOCK_OUT,
            BLOCK_IN=BLOCK_IN,
            num_warps=_warps(x),
            num_stages=2 if x.dtype is torch.float32 else 3,
        )
        if splits > 1:
            triton_programs.add_parts[rows, _parts(outs, 1024)](
                sums, scale, bias, out, rows, outs, SPLITS=splits, BLOCK=1024, num_warps=4
            )
    return out


def add_norm(
    x: Tensor, delta: Tensor, weight: Tensor, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """(x + delta, its norm): the residual stream's next value and the next block's input.

    x, delta: [rows, width] of one dtype, rows may be strided. weight, bias: [width]; a LayerNorm,
    without bias an RMSNorm. The sum is rounded to x's dtype before it is normalised in float32, as
    by two plain operations.
    """
    from assistant.engine.model import triton_programs

    rows, width = x.shape
    _check("x", x, x, x.shape, FLOATS, strided=True)
    _check("delta", delta, x, x.shape, (x.dtype,), strided=True)
    _check("weight", weight, x, (width,), FLOATS)
    if bias is not None:
        _check("bias", bias, x, (width,), FLOATS)
    total, normed = x.new_empty(rows, width), x.new_empty(rows, width)
    with torch.cuda.device_of(x):
        triton_programs.add_norm[(rows,)](
            x,
            delta,
            weight,
            bias,
            total,
            normed,
            eps,
            width,
            x.stride(0),
            delta.stride(0),
            BLOCK=_power_of_two(width),
            num_warps=8 if width > 2048 else 4,
        )
    return total, normed


def _check(
    name: str,
    tensor: Tensor,
    first: Tensor,
    shape: Sequence[int],
    dtypes: Sequence[torch.dtype],
    *,
    strided: bool = False,
) -> None:
    """Raises ValueError for what a kernel would misread. first: the call's first tensor, whose
    device all must have. strided: only the last dimension need be dense."""
    dense = tensor.stride()[-1:] == (1,) or shape[-1] == 1 if strided else tensor.is_contiguous()
    if dense and (tensor.shape, tensor.device) == (shape, first.device) and tensor.dtype in dtypes:
        return
    kinds = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
    raise ValueError(
        f"{name} must be {kinds} {list(shape)} on {first.device}, dense"
        f"{' in its last dimension' if strided else ''}, not {str(tensor.dtype)[6:]} "
        f"{list(tensor.shape)} on {tensor.device} with strides {list(tensor.stride())}."
    )


def _warps(x: Tensor) -> int:
    """How many warps share a tile: float32 products are done without tensor cores, in registers."""
    return 8 if x.dtype is torch.float32 else 4


def _power_of_two(number: int) -> int:
    """The smallest power of two that is no smaller."""
    return 1 << (number - 1).bit_length()


def _parts(total: int, size: int) -> int:
    return -(-total // size)


def _input_splits(outs: int, inputs: int) -> int:
    """Into how many parts the inputs of a weight [outs, inputs] are cut: 1, 2, 4 or 8."""
    splits = 1
    limit = min(8, inputs // SHARE_MIN)
    while _parts(outs, BLOCK_OUT) * splits < PROGRAMS and 2 * splits <= limit:
        splits *= 2
    return splits
