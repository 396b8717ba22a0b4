"""What a failed step means: a sentence for its requests, or the end of the engine."""

import pytest
import torch

from assistant.engine.local.failures import FAILED, OUT_OF_MEMORY, attempt

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def failing(error):
    def compute(jobs):
        raise error

    return compute


def test_an_exhausted_cpu():
    assert attempt(lambda jobs: torch.empty(2**60), [], CPU) == OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("error", "device", "sentence"),
    [
        (MemoryError(), CPU, OUT_OF_MEMORY),
        (torch.OutOfMemoryError(), CUDA, OUT_OF_MEMORY),
        (RuntimeError("another"), CPU, FAILED),
        (OSError(), CUDA, FAILED),
    ],
)
def test_a_failure_has_its_sentence(error, device, sentence, monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))
    assert attempt(failing(error), [], device) == sentence
    assert len(emptied) == (device is CUDA and sentence == OUT_OF_MEMORY)


def test_a_broken_device_is_raised():
    with pytest.raises(RuntimeError, match="device-side assert"):
        attempt(failing(RuntimeError("device-side assert")), [], CUDA)


def test_what_works_is_done():
    done = []
    assert attempt(done.extend, [1, 2], CPU) is None and done == [1, 2]
