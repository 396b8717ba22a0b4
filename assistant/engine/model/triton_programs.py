"""What one program of each Triton kernel computes; kernels.py launches them.

Only the last program of a row or column meets its end, yet every load and store is masked, and a
masked load gives 0: the cache starts as uninitialised memory, in which NaN is possible. Offsets are
int64 wherever a large cache or weight could pass 2**31 elements. Imports Triton.
"""

import triton
import triton.language as tl


@triton.jit
def attend_split(
    query: tl.tensor,  # [rows, heads, DIM]
    kv: tl.tensor,  # [slots, window, 2 x K/V heads x DIM]
    slots: tl.tensor,  # int64 [rows]
    positions: tl.tensor,  # int64 [rows]
    sums: tl.tensor,  # out, float32 [rows, SPLITS, heads, DIM]: values weighted by 2**(score - top)
    tops: tl.tensor,  # out, float32 [rows, SPLITS, heads]: the largest score, -inf in an empty part
    totals: tl.tensor,  # out, float32 [rows, SPLITS, heads]: the sum of the weights
    scale: tl.tensor,  # of scores as powers of two
    heads: tl.tensor,
    group: tl.tensor,  # heads that share one K/V head
    query_row: tl.tensor,  # strides
    query_head: tl.tensor,
    kv_slot: tl.tensor,
    kv_key: tl.tensor,
    SPLITS: tl.constexpr,
    HEADS: tl.constexpr,  # a power of two, at least 16: tl.dot takes no fewer rows
    DIM: tl.constexpr,
    BLOCK: tl.constexpr,  # keys
    SLIDING: tl.constexpr,  # how many keys up to its own a row sees; None for all
) -> None:
    """One part of one row's keys, for all heads of a group at once: they are the rows of the tile.

    Online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867). The parts follow from the row's
    own length, so that short contexts use all programs too.
    """
    row = tl.program_id(0).to(tl.int64)
    split = tl.program_id(1)
    shared = tl.program_id(2)
    slot = tl.load(slots + row).to(tl.int64)
    length = (tl.load(positions + row) + 1).to(tl.int32)
    begin = 0
    if SLIDING is not None:
        begin = tl.maximum(length - SLIDING, 0)
    share = tl.cdiv(tl.cdiv(length - begin, SPLITS), BLOCK) * BLOCK
    first = begin + split * share
    last = tl.minimum(first + share, length)

    head = shared * group + tl.arange(0, HEADS)
    dim = tl.arange(0, DIM)
    real = tl.arange(0, HEADS) < group
    q = tl.load(
        query + row * query_row + head[:, None] * query_head + dim[None, :],
        mask=real[:, None],
        other=0.0,
    )
    top = tl.full([HEADS], float("-inf"), tl.float32)
    total = tl.zeros([HEADS], tl.float32)
    acc = tl.zeros([HEADS, DIM], tl.float32)
    for start in range(first, last, BLOCK):
        key = start + tl.arange(0, BLOCK)
        inside = key < last
        place = kv + slot * kv_slot + key.to(tl.int64)[:, None] * kv_key
        place += shared * DIM + dim[None, :]
        k = tl.load(place, mask=inside[:, None], other=0.0)
        score = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        score = tl.where(inside[None, :], score, float("-inf"))
        higher = tl.maximum(top, tl.max(score, 1))
        weight = tl.exp2(score - higher[:, None])
        shrink = tl.exp2(top - higher)
        top = higher
        total = total * shrink + tl.sum(weight, 1)
        v = tl.load(place + tl.num_programs(2) * DIM, mask=inside[:, None], other=0.0)
        acc = tl.dot(weight.to(v.dtype), v, acc * shrink[:, None], input_precision="ieee")

    part = (row * SPLITS + split) * heads + head
    tl.store(tops + part, top, mask=real)
    tl.store(totals + part, total, mask=real)
    # An empty part's sums are never read.
    tl.store(sums + part[:, None] * DIM + dim[None, :], acc, mask=real[:, None] & (first < last))


@triton.jit
def attend_join(
    sums: tl.tensor,  # as attend_split leaves them
    tops: tl.tensor,
    totals: tl.tensor,
    out: tl.tensor,  # [rows, heads, DIM]
    heads: tl.tensor,
    SPLITS: tl.constexpr,
    DIM: tl.constexpr,
) -> None:
    """One head of one row: its parts brought to one scale and added."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    dim = tl.arange(0, DIM)
    part = (row * SPLITS + tl.arange(0, SPLITS)) * heads + head
    top = tl.load(tops + part)
    total = tl.load(totals + part)
    # By its total and not by its top: a part whose scores are all NaN has no top either.
    filled = total != 0
    weight = tl.where(filled, tl.exp2(top - tl.max(top, 0)), 0.0)
    acc = tl.load(sums + part[:, None] * DIM + dim[None, :], mask=filled[:, None], other=0.0)
    whole = tl.sum(weight * total, 0)
    value = tl.sum(weight[:, None] * acc, 0) / tl.where(whole == 0, 1.0, whole)
    tl.store(out + (row * heads + head) * DIM + dim, value.to(out.dtype.element_ty))


# The number of rows changes from step to step: it must not compile the kernel anew when it happens
# to be 1 or a multiple of 16.
@triton.jit(do_not_specialize=["rows"])
def multiply_int8(
    x: tl.tensor,  # [rows, inputs]
    weight: tl.tensor,  # int8 [outs, inputs]
    scale: tl.tensor,  # [outs]
    bias: tl.tensor,  # [outs] or None
    out: tl.tensor,  # [rows, outs]; with more than one split the sums, float32 [SPLITS, rows, outs]
    rows: tl.tensor,
    outs: tl.tensor,
    inputs: tl.tensor,
    x_row: tl.tensor,  # stride
    SPLITS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr,
) -> None:
    """A tile of the product, transposed: the weights are the left operand.

    So a tensor core's instruction is the same for 16, 32 and 64 rows, and so are a row's bits. The
    programs of further rows stand beside each other and find the weights in the L2 cache.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS).to(tl.int64)
    output = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT).to(tl.int64)
    split = tl.program_id(2)
    real = (output < outs)[:, None] & (row < rows)[None, :]
    share = tl.cdiv(tl.cdiv(inputs, SPLITS), BLOCK_IN) * BLOCK_IN
    first = split * share
    last = tl.minimum(first + share, inputs)
    acc = tl.zeros([BLOCK_OUT, ROWS], tl.float32)
    for start in range(first, last, BLOCK_IN):
        column = start + tl.arange(0, BLOCK_IN)
        w = tl.load(
            weight + output[:, None] * inputs + column[None, :],
            mask=(output < outs)[:, None] & (column < last)[None, :],
            other=0,
        )
        xt = tl.load(
            x + row[None, :] * x_row + column[:, None],
            mask=(row < rows)[None, :] & (column < last)[:, None],
            other=0.0,
        )
        acc = tl.dot(w.to(xt.dtype), xt, acc, input_precision="ieee")
    if SPLITS == 1:
        acc *= tl.load(scale + output, mask=output < outs, other=0.0).to(tl.float32)[:, None]
        if bias is not None:
            acc += tl.load(bias + output, mask=output < outs, other=0.0).to(tl.float32)[:, None]
    place = (split.to(tl.int64) * rows + row)[None, :] * outs + output[:, None]
    tl.store(out + place, acc.to(out.dtype.element_ty), mask=real)


@triton.jit(do_not_specialize=["rows"])
def add_parts(
    sums: tl.tensor,  # float32 [SPLITS, rows, outs]
    scale: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,  # [rows, outs]
    rows: tl.tensor,
    outs: tl.tensor,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """A piece of one row of multiply_int8's product: its parts added in order, scale and bias."""
    row = tl.program_id(0).to(tl.int64)
    output = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    real = output < outs
    acc = tl.zeros([BLOCK], tl.float32)
    for split in tl.static_range(SPLITS):
        acc += tl.load(sums + (split * rows + row) * outs + output, mask=real, other=0.0)
    acc *= tl.load(scale + output, mask=real, other=0.0).to(tl.float32)
    if bias is not None:
        acc += tl.load(bias + output, mask=real, other=0.0).to(tl.float32)
    tl.store(out + row * outs + output, acc.to(out.dtype.element_ty), mask=real)


@triton.jit
def add_norm(
    x: tl.tensor,  # [rows, width]
    delta: tl.tensor,  # [rows, width]
    weight: tl.tensor,  # [width]
    bias: tl.tensor,  # [width], or None for an RMSNorm
    total: tl.tensor,  # out, [rows, width]: x + delta
    normed: tl.tensor,  # out, [rows, width]: its norm
    eps: tl.tensor,
    width: tl.tensor,
    x_row: tl.tensor,  # strides
    delta_row: tl.tensor,
    BLOCK: tl.constexpr,  # a power of two, at least the width
) -> None:
    """One row, held in registers."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    real = column < width
    value = tl.load(x + row * x_row + column, mask=real, other=0.0).to(tl.float32)
    value += tl.load(delta + row * delta_row + column, mask=real, other=0.0).to(tl.float32)
    rounded = value.to(total.dtype.element_ty)
    tl.store(total + row * width + column, rounded, mask=real)
    value = rounded.to(tl.float32)
    centred = value
    if bias is not None:
        centred = tl.where(real, value - tl.sum(value, 0) / width, 0.0)
    inverse = 1.0 / tl.sqrt(tl.sum(centred * centred, 0) / width + eps)
    w = tl.load(weight + column, mask=real, other=0.0).to(tl.float32)
    out = centred * inverse * w
    if bias is not None:
        out += tl.load(bias + column, mask=real, other=0.0).to(tl.float32)
    tl.store(normed + row * width + column, out.to(normed.dtype.element_ty), mask=real)
