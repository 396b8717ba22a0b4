"""What the engine's tests share."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """For thousands of small operations, each of which would wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
