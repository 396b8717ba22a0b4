"""What each kernel must compute, as plain functions; kernel_cases.py makes tests of them, and
benchmarks/gpu asks a card for the same.

With TRITON_INTERPRET=1 they run on a CPU in Triton's interpreter, else on the CUDA device. The
interpreter has no bfloat16 products: that dtype is for the device. Needs no pytest.
"""

import contextlib
import os

import torch
import torch.nn.functional as F

from assistant.engine.model import kernels

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
# dtype -> tolerance, as a share of the largest value; bfloat16, which a card decodes in, first
DTYPES = {torch.float32: 4e-6, torch.float16: 2e-3}
if not INTERPRETED:
    DTYPES = {torch.bfloat16: 1.6e-2, **DTYPES}
STARCODER = 48, 128


@contextlib.contextmanager
def nan_in_new_memory():
    """torch.empty gives NaN, in the kernels' buffers too: what is read unwritten is seen."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.zeros(1).new_empty(1).isnan()
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def close(got, expected):
    assert got.isfinite().all(), "not finite"
    error = (got.cpu().double() - expected).abs().max() / expected.abs().max()
    assert error <= DTYPES[got.dtype], f"differs by {error:.1e} of the largest"


def cache(slots, window, head_dim, filled, dtype):
    """[slots, window, 2 x head_dim]; in slot s what stands before filled[s] is written."""
    kv = torch.empty(slots, window, 2 * head_dim, dtype=dtype, device=DEVICE)
    for slot, length in enumerate(filled):
        kv[slot, :length] = torch.randn(length, 2 * head_dim)
    return kv


def run(query, kv, slots, positions, scale):
    slots, positions = (torch.tensor(each, device=DEVICE) for each in (slots, positions))
    return kernels.decode_attention(query, kv, slots, positions, scale)


def plain(query, kv, slots, positions, scale):
    """decode_attention in plain torch, in float64."""
    query, kv = query.cpu().double(), kv.cpu().double()
    out = []
    for row, slot, position in zip(query, slots, positions, strict=True):
        key, value = kv[slot, : position + 1].chunk(2, dim=-1)
        out.append((row @ key.T * scale).softmax(-1) @ value)
    return torch.stack(out)


# -- attention ----------------------------------------------------------------------------------


def decode(shape, window, positions, dtype):
    slots = list(range(len(positions)))[::-1]
    filled = [position + 1 for position in positions[::-1]]
    kv = cache(len(slots), window, shape[1], filled, dtype)
    query = torch.randn(len(slots), *shape).to(DEVICE, dtype)
    close(run(query, kv, slots, positions, 0.2), plain(query, kv, slots, positions, 0.2))


def decode_of_any_rows(places):
    """places: (slot of 3, position below 300) of each row; some may be of one slot."""
    slots, positions = [list(each) for each in zip(*places, strict=True)]
    filled = [max([p + 1 for s, p in places if s == slot], default=0) for slot in range(3)]
    kv = cache(3, 300, 16, filled, torch.float32)
    query = torch.randn(len(places), 3, 16, device=DEVICE)
    close(run(query, kv, slots, positions, 1.0), plain(query, kv, slots, positions, 1.0))


def decode_of_views():
    whole = torch.randn(3, 4, 70, 64, device=DEVICE)  # [slots, layers, window, 2 x head_dim]
    kv = whole[:, 2]
    query = torch.randn(2, 5 * 32 + 64, device=DEVICE)[:, :160].view(2, 5, 32)
    assert not kv.is_contiguous() and not query.is_contiguous()
    close(run(query, kv, [2, 0], [69, 3], 0.3), plain(query, kv, [2, 0], [69, 3], 0.3))


def decode_far_into_a_large_cache():
    torch.use_deterministic_algorithms(False)  # nobody writes the 4 GB between the two slots
    flat = torch.empty(2**31 + 2**12, dtype=torch.float16, device=DEVICE)
    kv = flat.as_strided((3, 64, 64), (2**30, 64, 1))
    kv[2] = torch.randn(64, 64)
    query = torch.randn(1, 2, 32).to(DEVICE, torch.float16)
    expected = plain(query, kv[2:], [0], [63], 0.2)
    close(run(query, kv, [2], [63], 0.2), expected)


def a_row_at_position_minus_one_attends_to_nothing():
    kv = cache(1, 40, 16, [0], torch.float32)
    query = torch.randn(2, 3, 16, device=DEVICE)
    assert torch.equal(run(query, kv, [0, 0], [-1, -1], 1.0), torch.zeros_like(query))


def non_finite_values_reach_their_own_row_and_no_other(value, positions):
    kv = cache(2, 200, 16, [200, 200], torch.float32)
    kv[0, positions[0]] = value
    query = torch.randn(2, 3, 16, device=DEVICE)
    out = run(query, kv, [0, 1], positions, 1.0)
    assert not out[0].isfinite().any()
    close(out[1:], plain(query[1:], kv, [1], positions[1:], 1.0))


def decode_is_the_same_alone_and_in_company():
    slots, positions = [2, 0, 1, 0, 2], [299, 64, 7, 130, 0]
    kv = cache(3, 300, 32, [131, 8, 300], torch.float32)
    query = torch.randn(5, 6, 32, device=DEVICE)
    together = run(query, kv, slots, positions, 0.2)
    for row, place in enumerate(zip(slots, positions, strict=True)):
        alone = run(query[row : row + 1], kv, *([value] for value in place), 0.2)
        assert torch.equal(alone[0], together[row])


# -- int8 -----------------------------------------------------------------------------------------


def int8_case(rows, inputs, outs, dtype, scale_dtype=torch.float32):
    x = torch.randn(rows, inputs + 3).to(DEVICE, dtype)[:, :inputs]
    weight = torch.randint(-128, 128, (outs, inputs), dtype=torch.int8, device=DEVICE)
    scale = (torch.rand(outs, device=DEVICE) / 128 + 1e-4).to(scale_dtype)
    return x, weight, scale, torch.randn(outs).to(DEVICE, dtype)


def plain_int8(x, weight, scale, bias):
    x, weight, scale = (each.cpu().double() for each in (x, weight, scale))
    return x @ (weight * scale[:, None]).T + (0 if bias is None else bias.cpu().double())


def int8_linear(rows, inputs, outs, dtype):
    x, weight, scale, bias = int8_case(rows, inputs, outs, dtype)
    close(kernels.int8_linear(x, weight, scale, bias), plain_int8(x, weight, scale, bias))


def int8_linear_without_bias_and_with_a_narrow_scale(inputs):
    x, weight, scale, _ = int8_case(2, inputs, 70, torch.float16, torch.float16)
    close(kernels.int8_linear(x, weight, scale, None), plain_int8(x, weight, scale, None))


def int8_linear_is_the_same_alone_and_in_company(inputs):
    # The interpreter's products are the CPU's own: they are fixed only within one tile's shape.
    rows = 16 if INTERPRETED else 100
    x, weight, scale, bias = int8_case(rows, inputs, 70, torch.float16)
    together = kernels.int8_linear(x, weight, scale, bias)
    for row in range(0, rows, 5):
        alone = kernels.int8_linear(x[row : row + 1], weight, scale, bias)
        assert torch.equal(alone[0], together[row])


# -- the residual and its norm --------------------------------------------------------------------


def add_norm(rows, width, mean, dtype):
    x, delta = (torch.randn(2, rows, width + 1) + mean).to(DEVICE, dtype)[..., :width]
    weight, bias = torch.randn(2, width).to(DEVICE, dtype)
    total, normed = kernels.add_norm(x, delta, weight, bias, 1e-5)
    assert torch.equal(total, x + delta)
    total, weight, bias = (each.cpu().double() for each in (total, weight, bias))
    close(normed, F.layer_norm(total, (width,), weight, bias, 1e-5))


def add_norm_is_the_same_alone_and_in_company():
    x, delta = torch.randn(2, 3, 100, device=DEVICE)
    weight, bias = torch.randn(2, 100, device=DEVICE)
    together = kernels.add_norm(x, delta, weight, bias, 1e-5)
    alone = kernels.add_norm(x[1:2], delta[1:2], weight, bias, 1e-5)
    assert all(torch.equal(a[0], b[1]) for a, b in zip(alone, together, strict=True))


# What each is tried on, StarCoder's own shapes first.
TRIED = {
    decode: [
        (*shape, dtype)
        for dtype in DTYPES
        for shape in (
            (STARCODER, 1100, [0, 1062, 1099]),
            ((8, 64), 256, [0, 1, 62, 63, 64, 127, 128, 255]),
            ((2, 32), 96, [31, 32, 33, 95]),
            ((1, 16), 50, [49, 15, 16]),
            ((64, 32), 65, [64]),
            ((17, 16), 20, [3, 19]),
        )
    ],
    int8_linear: [
        (*shape, dtype)
        for dtype in DTYPES
        for shape in (
            (1, 6144, 6400 if not INTERPRETED else 640),  # StarCoder's qkv
            (1, 100, 70),
            (3, 4096, 65),  # split in four
            (16, 2050, 1030),  # split in two, unevenly
            (17, 256, 64),
            (33, 128, 128),
            (70, 130, 40),
        )
    ],
    add_norm: [
        (*shape, dtype)
        for dtype in DTYPES
        for shape in ((1, 6144, 0.0), (3, 100, 0.0), (2, 128, 50.0), (2, 1, 0.0))
    ],
    decode_of_views: [()],
    decode_far_into_a_large_cache: [()],
    a_row_at_position_minus_one_attends_to_nothing: [()],
    non_finite_values_reach_their_own_row_and_no_other: [
        (value, positions)
        for value in (torch.nan, torch.inf)
        for positions in ([0, 0], [170, 9], [199, 199])
    ],
    decode_is_the_same_alone_and_in_company: [()],
    decode_of_any_rows: [([(0, 5), (2, 299), (0, 4), (1, 0)],)],
    int8_linear_without_bias_and_with_a_narrow_scale: [(100,), (2048,)],
    int8_linear_is_the_same_alone_and_in_company: [(100,), (4096,)],
    add_norm_is_the_same_alone_and_in_company: [()],
}
