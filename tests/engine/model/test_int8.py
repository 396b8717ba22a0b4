"""Quantisation against its definition, and against torch's own int8 product."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from assistant.engine.model.int8 import (
    SCALE_DTYPE,
    Quantized,
    dequantize,
    quantize,
    quantized_bytes,
)


def random(rows, columns, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator) * scale


@given(
    rows=st.sampled_from([1, 3, 255, 256, 257, 600]),
    columns=st.integers(1, 40),
    exponent=st.integers(-30, 30),
    seed=st.integers(0, 999),
)
def test_no_weight_is_further_than_half_a_step_from_its_value(rows, columns, exponent, seed):
    weight = random(rows, columns, 10.0**exponent, seed)
    values, scales = quantized = quantize(weight)
    assert (values.dtype, values.shape) == (torch.int8, weight.shape)
    assert (scales.dtype, scales.shape) == (SCALE_DTYPE, (rows,))
    step = scales.double()[:, None]
    error = (dequantize(quantized, torch.float32).double() - weight.double()).abs()
    assert (error <= step * 0.5001).all()
    assert (values.abs().amax(1) >= 126).all()  # the whole range is used
    assert values.min() >= -127


def test_the_largest_weight_of_each_row_sets_its_scale():
    weight = torch.tensor([[127.0, -1.0, 0.4], [0.5, -12.7, 0.0]])
    values, scales = quantize(weight)
    assert values.tolist() == [[127, -1, 0], [5, -127, 0]]
    torch.testing.assert_close(scales.float(), torch.tensor([1.0, 0.1]), rtol=2**-8, atol=0)


@pytest.mark.parametrize("tiny", [0.0, 1e-40, -1e-45])
def test_rows_of_zeros_and_of_almost_nothing(tiny):
    weight = torch.full((3, 8), tiny)
    weight[1] = 1.0
    quantized = quantize(weight)
    assert quantized.scales[[0, 2]].tolist() == [1, 1]
    assert quantized.values[[0, 2]].any().item() is False
    back = dequantize(quantized, torch.float32)
    torch.testing.assert_close(back[1], weight[1], rtol=2**-8, atol=0)


def test_a_scale_too_small_to_be_exact_wraps_no_value_around():
    weight = torch.full((1, 8), 1.7e-38)  # 186 times the least bfloat16
    assert quantize(weight).values.tolist() == [[127] * 8]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_visible(bad):
    weight = random(4, 8)
    weight[2, 3] = bad
    finite = dequantize(quantize(weight), torch.float32).isfinite().all(1)
    assert finite.tolist() == [True, True, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtypes_in_and_out(dtype):
    weight = random(5, 16).to(dtype)
    quantized = quantize(weight)
    back = dequantize(quantized, dtype)
    assert back.dtype == dtype
    exact = quantized.values.double() * quantized.scales.double()[:, None]
    torch.testing.assert_close(back.double(), exact, rtol=torch.finfo(dtype).eps / 2, atol=0)
    assert torch.equal(quantize(weight.float()).values, quantized.values)


def test_a_view_with_other_strides():
    weight = random(32, 16)
    values, scales = quantize(weight.T)
    assert values.is_contiguous() and torch.equal(values, quantize(weight.T.contiguous()).values)


@pytest.mark.parametrize("rows", [1, 16])
def test_torchs_int8_product_takes_it_as_it_is(rows):
    quantized = quantize(random(64, 96))
    x = random(rows, 96, seed=1).to(SCALE_DTYPE)
    product = torch.ops.aten._weight_int8pack_mm(x, *quantized)
    exact = x.double() @ dequantize(quantized, torch.float32).double().T
    torch.testing.assert_close(product.double(), exact, rtol=2**-7, atol=2**-7)


class Largest(TorchDispatchMode):
    """Notes the most numbers that any result other than int8 has."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is not torch.ops.aten.split.Tensor and isinstance(result, torch.Tensor):
            wide = result.numel() if result.dtype != torch.int8 else 0
            self.numel = max(self.numel, wide)
        return result


def test_there_is_never_a_float32_copy_of_the_whole():
    weight = random(2048, 64).to(torch.bfloat16)
    with Largest() as largest:
        quantize(weight)
    assert 0 < largest.numel <= 256 * 64


def test_bytes():
    values, scales = quantize(random(24, 40))
    assert quantized_bytes((24, 40)) == values.nbytes + scales.nbytes
    assert isinstance(quantize(torch.empty(24, 40, device="meta")), Quantized)
