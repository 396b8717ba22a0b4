"""Devices, number formats and free memory; CUDA's rules need no such device."""

import pytest
import torch

from assistant.engine import device
from assistant.engine.device import RESERVE, choose_dtype
from assistant.errors import CheckpointError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
VALUES = 10**9


def needed(place):
    """Bytes of a model of a billion numbers, as weights.bytes_needed counts them."""
    beside = place.type == "cpu"

    def count(dtype, int8):
        return VALUES * (int8 + dtype.itemsize * (not int8 or beside))

    return count


def choose(name, place, free):
    return choose_dtype(name, place, needed(place), free, "some model")


@pytest.mark.parametrize(
    "name, place, gigabytes, choice",
    [  # just enough and just too little for each rule; the model takes 4, 2 or, in int8, 1 GB
        ("auto", CPU, 8.01, ("auto", torch.float32)),
        ("auto", CPU, 7.99, ("bfloat16", torch.bfloat16)),
        ("auto", CPU, 2.01, ("bfloat16", torch.bfloat16)),
        ("auto", CUDA, 99, ("bfloat16", torch.bfloat16)),
        ("auto", CUDA, 2.01, ("bfloat16", torch.bfloat16)),
        ("int8", CPU, 10.01, ("int8", torch.float32)),
        ("int8", CPU, 9.99, ("int8", torch.bfloat16)),
        ("int8", CPU, 3.01, ("int8", torch.bfloat16)),
        ("int8", CUDA, 99, ("int8", torch.bfloat16)),
        ("int8", CUDA, 1.01, ("int8", torch.bfloat16)),
        ("float32", CPU, 4.01, ("float32", torch.float32)),
        ("float32", CUDA, 4.01, ("float32", torch.float32)),
        ("float16", CPU, 2.01, ("float16", torch.float16)),
        ("bfloat16", CUDA, 2.01, ("bfloat16", torch.bfloat16)),
    ],
)
def test_choice(name, place, gigabytes, choice):
    reserve = RESERVE * (2 if gigabytes in (8.01, 7.99, 10.01, 9.99) else 1)  # of half the memory
    assert choose(name, place, gigabytes * 1e9 + reserve) == choice


@pytest.mark.parametrize(
    "name, place, size, said, hint",
    [
        ("auto", CPU, 2, "bfloat16", None),
        ("auto", CUDA, 2, "bfloat16", "int8"),
        ("int8", CPU, 3, "int8", "bfloat16"),
        ("int8", CUDA, 1, "int8", None),
        ("float32", CPU, 4, "float32", "bfloat16"),
        ("float32", CUDA, 4, "float32", "int8"),
        ("float16", CPU, 2, "float16", None),
        ("float16", CUDA, 2, "float16", "int8"),
    ],
)
def test_too_little_memory(name, place, size, said, hint):
    with pytest.raises(CheckpointError) as caught:
        choose(name, place, size * 1e9 + RESERVE - 1)
    sentence = str(caught.value)
    total = (size * 1e9 + RESERVE) / 1e9
    assert f"some model needs {total:.1f} GB of memory on {place} in {said} and " in sentence
    assert (f"--model, --dtype {hint} or fewer" if hint else "--model or fewer") in sentence


@pytest.mark.parametrize(
    "limit, used, free", [("1000", "600", 500), ("max", "600", None), ("500", "700", 0)]
)
def test_a_container_may_have_less_memory_than_its_machine(tmp_path, limit, used, free):
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text(used + "\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100\n")
    assert device._cgroup_free_bytes(tmp_path) == (float("inf") if free is None else free)
    assert device._cgroup_free_bytes(tmp_path / "none") == float("inf")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "cuda:", "mps", "meta", "", "cpu:0"])
def test_unknown_devices(name):
    with pytest.raises(CheckpointError, match="--device must be auto, cpu, cuda or cuda:N"):
        device.choose_device(name)
