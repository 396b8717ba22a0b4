"""What the kernels read and write of memory, and which tensors they refuse; test_kernels.py runs
these in Triton's interpreter, in a process of their own.

Every tensor stands in the middle of a larger one, filled with what would be seen: NaN, or a number
that leads far away. And the interpreter is watched: each address that a kernel loads from or stores
to must be that of a tensor's own number, also where the result does not depend on what is there.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from assistant.engine.model import kernels

pytestmark = [
    # Triton 3.6's interpreter does so.
    pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:invalid value"),  # sums of masked rows
]
AROUND = 512  # numbers before and behind a tensor; a multiple of 16 bytes keeps it aligned
FAR = {torch.int64: 2**40, torch.int8: -128}  # as a slot or a position it would end the process


class Guarded:
    """Makes tensors with poison around them. check: whether all of it is still there. allow:
    refuses addresses that are not inside of one."""

    def __init__(self):
        self.wholes = []

    def __call__(self, tensor, *, strides=None):
        size = tensor.numel() if strides is None else _reach(tensor.shape, strides)
        poison = FAR.get(tensor.dtype, torch.nan)
        whole = torch.full((size + 2 * AROUND,), poison, dtype=tensor.dtype)
        strides = strides or torch.empty(tensor.shape).stride()
        inside = whole.as_strided(tensor.shape, strides, AROUND)
        inside.copy_(tensor)
        mask = torch.zeros(len(whole), dtype=torch.bool)
        mask.as_strided(tensor.shape, strides, AROUND).fill_(True)
        self.wholes.append((whole, mask, poison))
        return inside

    def allow(self, addresses):
        known = np.zeros(len(addresses), dtype=bool)
        for whole, mask, _ in self.wholes:
            place = addresses.astype(np.int64) - whole.data_ptr()
            near = (place >= 0) & (place < whole.nbytes)
            known[near] = mask.numpy()[place[near] // whole.itemsize]
        assert known.all(), f"{(~known).sum()} of {len(known)} addresses are in no tensor"

    def check(self):
        for whole, mask, poison in self.wholes:
            outside = whole[~mask]
            same = outside == poison if poison == poison else outside.isnan()
            assert same.all(), "a kernel wrote beside a tensor"


def _reach(shape, strides):
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


@pytest.fixture
def guarded(monkeypatch):
    """The wrappers' own buffers and results are guarded, too."""
    torch.manual_seed(0)
    guarded, real = Guarded(), torch.Tensor.new_empty

    def new_empty(tensor, *size, dtype=None, device=None):
        if device is not None:  # the interpreter's own
            return real(tensor, *size, device=device)
        return guarded(torch.full(size, torch.nan, dtype=dtype or tensor.dtype))

    monkeypatch.setattr(torch.Tensor, "new_empty", new_empty)
    builder = pytest.importorskip("triton.runtime.interpreter").InterpreterBuilder

    def watched(method):
        def access(self, pointers, *rest):
            mask = rest[0] if method is loads else rest[1]
            wanted = np.broadcast_to(mask.data, pointers.data.shape).astype(bool)
            guarded.allow(pointers.data[wanted])
            return method(self, pointers, *rest)

        return access

    loads, stores = builder.create_masked_load, builder.create_masked_store
    monkeypatch.setattr(builder, "create_masked_load", watched(loads))
    monkeypatch.setattr(builder, "create_masked_store", watched(stores))
    yield guarded
    guarded.check()


def close(got, expected, tolerance=2e-5):
    assert got.isfinite().all(), "poison was read"
    error = (got.double() - expected).abs().max() / expected.abs().max().clamp(min=1e-9)
    assert error <= tolerance


@pytest.mark.parametrize(
    ("heads", "size", "window"), [(48, 128, 33), (22, 32, 64), (12, 64, 33), (1, 16, 64)]
)
def test_decode_at_both_ends_of_slots_and_window(guarded, heads, size, window):
    slots = torch.tensor([0, 2, 2, 1])
    positions = torch.tensor([window - 1, 0, window - 1, window // 2])
    content = torch.randn(3, window, 2 * size)
    content[1, window // 2 + 1 :] = torch.nan  # what nothing was written to
    kv, query = guarded(content), guarded(torch.randn(4, heads, size))
    out = kernels.decode_attention(query, kv, guarded(slots), guarded(positions), 0.2)
    for row, slot, position in zip(range(4), slots.tolist(), positions.tolist(), strict=True):
        key, value = content[slot, : position + 1].double().split(size, dim=-1)
        weights = (query[row].double() @ key.T * 0.2).softmax(-1)
        close(out[row], weights @ value)


def test_decode_of_views_reads_nothing_between_their_rows(guarded):
    """The cache's layer of slots further apart, and the query before keys and values in its row."""
    content, query = torch.randn(2, 40, 64), torch.randn(3, 5, 32)
    kv = guarded(content, strides=(40 * 64 * 3 + 16, 64 + 16, 1))
    rows = guarded(query, strides=(5 * 32 + 64, 32, 1))
    slots, positions = torch.tensor([1, 0, 1]), torch.tensor([39, 0, 7])
    out = kernels.decode_attention(rows, kv, guarded(slots), guarded(positions), 0.2)
    for row in range(3):
        span = content[slots[row], : positions[row] + 1].double()
        key, value = span.split(32, dim=-1)
        close(out[row], (query[row].double() @ key.T * 0.2).softmax(-1) @ value)


@pytest.mark.parametrize(("rows", "bias"), [(1, True), (16, False), (17, True), (65, False)])
@pytest.mark.parametrize(("outs", "inputs"), [(64, 128), (65, 129), (1, 1), (70, 2050)])
def test_int8_linear(guarded, rows, outs, inputs, bias):
    x = guarded(torch.randn(rows, inputs), strides=(inputs + 16, 1))
    weight = guarded(torch.randint(-127, 128, (outs, inputs), dtype=torch.int8))
    scale, shift = guarded(torch.rand(outs) + 0.1), guarded(torch.randn(outs))
    out = kernels.int8_linear(x, weight, scale, shift if bias else None)
    expected = x.double() @ (weight.double() * scale.double()[:, None]).T
    close(out, expected + shift.double() if bias else expected)


@pytest.mark.parametrize("width", [1, 100, 768, 1024])
def test_add_norm(guarded, width):
    x = guarded(torch.randn(3, width), strides=(width + 16, 1))
    delta = guarded(torch.randn(3, width), strides=(width + 32, 1))
    weight, bias = guarded(torch.randn(width)), guarded(torch.randn(width))
    total, normed = kernels.add_norm(x, delta, weight, bias, 1e-5)
    assert torch.equal(total, x + delta)
    given = (each.double() for each in (total, weight, bias))
    value, weight, bias = given
    assert normed.isfinite().all()
    torch.testing.assert_close(
        normed.double(), F.layer_norm(value, (width,), weight, bias, 1e-5), atol=1e-5, rtol=1e-5
    )


# -- what is refused --------------------------------------------------------------------------


def transposed(tensor):
    return tensor.T.contiguous().T if tensor.dim() > 1 else tensor.repeat_interleave(3)[::3]


def wider(tensor):
    return tensor.double() if tensor.is_floating_point() else tensor.int()


def shorter(tensor):
    return tensor[..., :-1].contiguous()


def elsewhere(tensor):
    return tensor.to("meta")


def arguments(name):
    """Good ones, by their names."""
    if name == "decode_attention":
        return {
            "query": torch.randn(3, 4, 16),
            "kv": torch.randn(2, 20, 32),
            "slots": torch.tensor([0, 1, 1]),
            "positions": torch.tensor([3, 4, 19]),
            "scale": 0.2,
        }
    if name == "int8_linear":
        weight = torch.randint(-127, 128, (32, 48), dtype=torch.int8)
        given = {"x": torch.randn(3, 48), "weight": weight, "scale": torch.rand(32)}
        return {**given, "bias": torch.randn(32)}
    given = {"x": torch.randn(3, 48), "delta": torch.randn(3, 48)}
    return {**given, "weight": torch.randn(48), "bias": torch.randn(48), "eps": 1e-5}


WRONG = [
    (name, argument, change)
    for name in ("decode_attention", "int8_linear", "add_norm")
    for argument, value in arguments(name).items()
    if isinstance(value, torch.Tensor)
    for change in (transposed, wider, shorter, elsewhere)
]
# The first tensor says what the others must be, but for its own last dimension and its dtype.
FIRST = {("query", shorter), ("query", elsewhere), ("x", shorter), ("x", elsewhere)}


@pytest.mark.parametrize(("name", "argument", "change"), WRONG)
def test_a_tensor_that_would_be_misread_is_refused(name, argument, change):
    given = arguments(name)
    if argument in ("query", "kv") and change is transposed:
        given[argument] = given[argument].transpose(-1, -2).contiguous().transpose(-1, -2)
    else:
        given[argument] = change(given[argument])
    with pytest.raises(ValueError) as caught:
        getattr(kernels, name)(*given.values())
    sentence = str(caught.value)
    if (argument, change) not in FIRST:
        assert sentence.startswith(f"{argument} must be ")
    assert sentence.endswith(".") and "\n" not in sentence
    getattr(kernels, name)(*arguments(name).values())


def test_rows_of_a_transposed_batch_are_refused():
    """As calibrate once gave them: three numbers apart, they name other slots."""
    rows = torch.tensor([(7, 0, 3), (8, 1, 4), (9, 1, 19)])
    _, slots, positions = rows.T
    given = arguments("decode_attention") | {"slots": slots, "positions": positions}
    with pytest.raises(ValueError, match=r"slots must be int64 \[3\] on cpu, dense, not .*\[3\]"):
        kernels.decode_attention(*given.values())
    given |= {"slots": slots.contiguous()}
    with pytest.raises(ValueError, match="positions must be int64"):
        kernels.decode_attention(*given.values())
