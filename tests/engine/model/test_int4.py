"""Quantisation against its definition, and what torch's own int4 products make of it: on a CPU the
real ones; those of a card as stand-ins, in the order of PyTorch's cuda/int4mm.cu."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from assistant.engine.model import int4
from assistant.engine.model.int4 import GROUPS, Int4, int4_bytes, multiply, quantize
from tests.support.card import int4_operators
from tests.support.engines import unpacked


def random(rows, columns, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator) * scale


def on_grid(rows, columns, group, seed=0):
    """A weight that is on a grid already: what is quantised from it is it, on any device."""
    draw = torch.Generator().manual_seed(seed)
    integers = torch.randint(0, 16, (rows, columns // group, group), generator=draw)
    integers[..., :2] = torch.tensor([0, 15])
    scale = 2.0 ** -torch.randint(2, 9, (rows, columns // group, 1), generator=draw)
    return ((integers - 8) * scale).view(rows, columns)


# -- the numbers ------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    rows=st.sampled_from([1, 15, 16, 255, 257]),
    columns=st.integers(1, 150),
    exponent=st.integers(-30, 30),
    group=st.sampled_from(GROUPS),
    seed=st.integers(0, 999),
)
def test_no_group_is_further_than_half_a_step_from_its_values(rows, columns, exponent, group, seed):
    weight = random(rows, columns, 10.0**exponent, seed)
    back = unpacked(quantize(weight, group)).double()
    for was, now in zip(weight.double().split(group, 1), back.split(group, 1), strict=True):
        low, high = was.amin(1), was.amax(1)
        if was.shape[1] < group:  # zeros stand behind it
            low, high = low.clamp(max=0), high.clamp(min=0)
        mean_square = (now - was).square().sum(1) / group
        assert (mean_square.sqrt() <= 0.53 * (high - low) / 15 + 0.004 * was.abs().amax(1)).all()


@pytest.mark.parametrize("group", GROUPS)
def test_a_weight_on_a_grid_stays_what_it_is(group):
    weight = on_grid(48, 2 * group, group)
    assert torch.equal(unpacked(quantize(weight, group)), weight)


def q4_0(groups):
    """GGUF's: (integer - 8) x scale, the largest weight at integer 0."""
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    scale = (largest / -8).half().float()
    return (groups / scale + 8.5).floor().clamp(0, 15).sub(8) * scale, scale.abs()


def q4_1(groups, steps=15):
    """GGUF's: integer x scale + minimum, both float16."""
    low, high = groups.aminmax(dim=-1, keepdim=True)
    scale, low = ((high - low) / steps).half().float(), low.half().float()
    return ((groups - low) / scale + 0.5).floor().clamp(0, steps) * scale + low, scale


def q4_k(groups):
    """GGUF's, of which some groups have 14 steps."""
    return q4_1(groups, steps=14)


@pytest.mark.parametrize("kind", [q4_0, q4_1, q4_k])
def test_a_group_of_gguf_stays_what_it_is_but_for_the_rounding_of_its_scale(kind):
    stored, step = kind(random(64, 1024).view(64, -1, 32))
    back = unpacked(quantize(stored.view(64, -1), 32)).view_as(stored)
    assert ((back - stored).abs() / step).max() < 0.05


@pytest.mark.parametrize(("group", "most"), [(32, 0.9), (128, 0.94)])
def test_the_error_is_less_than_with_the_span_in_fifteen_steps(group, most):
    groups = random(256, 1024).view(256, -1, group)
    low, high = groups.aminmax(dim=-1, keepdim=True)
    scale = (high - low) / 15
    plain = ((groups - low) / scale).round() * scale + low
    ours = unpacked(quantize(groups.view(256, -1), group)).view_as(groups)
    ratio = ((ours - groups).square().sum() / (plain - groups).square().sum()).item()
    assert ratio < most


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-40, 2.0**100])
def test_groups_of_one_value(value):
    weight = torch.full((3, 64), value)
    weight[1] = random(1, 64)
    back = unpacked(quantize(weight))
    torch.testing.assert_close(back[[0, 2]], weight[[0, 2]], rtol=2**-8, atol=1e-39)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_seen_in_its_row_and_in_no_other(bad):
    weight = random(20, 96)
    weight[2, 40] = bad
    finite = multiply(torch.ones(1, 96), quantize(weight)).isfinite()[0]
    assert finite.tolist() == [row != 2 for row in range(20)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrower_weights_and_views_give_the_same(dtype):
    weight = random(64, 48).to(dtype)
    expected = quantize(weight.float())
    for same in (quantize(weight), quantize(weight.T.contiguous().T)):
        assert torch.equal(same.values, expected.values)
        assert torch.equal(same.grids, expected.grids)


# -- the product ------------------------------------------------------------------------------

SHAPES = [(16, 32), (576, 576), (300, 96), (100, 70), (1, 1), (1040, 160)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("group", [32, 64])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_product_is_that_of_the_weight_whatever_its_shape(shape, group, dtype):
    weight = quantize(random(*shape), group)
    x = random(5, shape[1], seed=1).to(torch.bfloat16)
    exact = x.double() @ unpacked(weight).double().T
    product = multiply(x.to(dtype), weight)
    assert product.dtype is dtype
    torch.testing.assert_close(product.double(), exact, rtol=2**-8, atol=1e-6)


def test_a_layer_adds_its_bias_and_takes_rows_that_are_views():
    weight, bias = quantize(random(40, 64)), random(1, 40)[0].to(torch.bfloat16)
    x = random(6, 128, seed=1).to(torch.bfloat16)[:, :64]
    assert torch.equal(Int4(weight, bias)(x), multiply(x.contiguous(), weight) + bias)
    assert torch.equal(Int4(weight, None)(x), multiply(x.contiguous(), weight))


@pytest.mark.parametrize("shape", [(256, 1024), (1040, 288), (97, 70)])
def test_a_row_depends_neither_on_the_others_nor_on_the_threads(shape):
    weight = quantize(random(*shape))
    x = random(64, shape[1], seed=1).to(torch.bfloat16)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        whole = multiply(x, weight)
        for count in (1, 2):
            torch.set_num_threads(count)
            for rows in range(1, 65):
                assert torch.equal(multiply(x[:rows], weight), whole[:rows])
                assert torch.equal(multiply(x[-rows:], weight), whole[-rows:])
    finally:
        torch.set_num_threads(threads)


# -- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("group", GROUPS)
def test_bytes(shape, group):
    weight = quantize(random(*shape), group)
    assert int4_bytes(shape, group) == weight.values.nbytes + weight.grids.nbytes


class Largest(TorchDispatchMode):
    """Notes the most numbers that any result has, but for views and what is packed."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype is not torch.uint8:
            self.numel = max(self.numel, result.numel())
        return result


def test_there_is_never_a_wide_copy_of_the_whole():
    weight = random(2048, 64).to(torch.bfloat16)
    with Largest() as largest:
        quantize(weight)
    assert 0 < largest.numel <= 256 * 64


# -- on a card --------------------------------------------------------------------------------


@pytest.fixture
def card(monkeypatch):
    """This CPU as a card."""
    monkeypatch.setattr(int4, "on_card", lambda device: True)
    with int4_operators():
        yield


@pytest.mark.parametrize("width", [64, 96, 128, 320, 70])  # in words of 2, 4 and 8 tiles; filled up
def test_on_a_card_few_rows_and_many_are_multiplied_by_the_same_weight(card, width):
    weight = on_grid(272 if width == 64 else 30, -(-width // 32) * 32, 32)[:, :width]
    packed = quantize(weight)
    x = random(int4.FEW_ROWS + 1, width, seed=1).to(torch.bfloat16)
    exact = x.double() @ weight.double().T
    many, few = multiply(x, packed), multiply(x[:3], packed)
    torch.testing.assert_close(many.double(), exact, rtol=2**-7, atol=2**-6)
    torch.testing.assert_close(few.double(), exact[:3], rtol=2**-7, atol=2**-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, int4.FEW_ROWS + 1])
def test_torchs_own_operators_for_a_card_take_these_shapes(shape, rows):
    with FakeTensorMode():
        weight = quantize(torch.empty(shape, device="meta"))
        assert weight.values.nbytes + weight.grids.nbytes == int4_bytes(shape)
        x = torch.empty(rows, shape[1], dtype=torch.bfloat16, device="meta")
        assert multiply(x, weight).shape == (rows, shape[0])
