"""The checks of kernel_checks.py as tests; test_kernels.py runs these in a process of their own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import kernel_checks

CASES = [
    pytest.param(check, arguments, id=f"{check.__name__}-{arguments}")
    for check, tried in kernel_checks.TRIED.items()
    for arguments in tried
]
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "Conversion of an array:DeprecationWarning",  # Triton 3.6's interpreter does so
        "invalid value:RuntimeWarning",  # where NaN is what is tried
        "overflow:RuntimeWarning",
    )
]


@pytest.fixture(autouse=True)
def nan_in_new_memory():
    with kernel_checks.nan_in_new_memory():
        yield


@pytest.mark.parametrize(("check", "arguments"), CASES)
def test_check(check, arguments):
    check(*arguments)


@settings(max_examples=8)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 299)), min_size=1, max_size=4))
def test_decode_of_any_rows_some_of_one_slot(places):
    kernel_checks.decode_of_any_rows(places)


@pytest.mark.parametrize("shape", [(65, 128), (0, 128), (48, 96), (8, 8), (8, 256)])
def test_decode_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=str(shape[1])):
        kernel_checks.run(torch.zeros(1, *shape), torch.zeros(1, 4, 2 * shape[1]), [0], [0], 1.0)
