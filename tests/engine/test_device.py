"""Devices, number formats and free memory; CUDA's rules need no such device."""

import pytest
import torch

from assistant.engine import device
from assistant.engine.device import QUANTISED, RESERVE, choose_dtype
from assistant.errors import CheckpointError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
VALUES = 10**9


def needed(place, kv=0):
    """Bytes of a model of a billion numbers, as weights.bytes_needed counts them. kv: numbers of
    each token of each slot beside them."""
    beside = place.type == "cpu"

    def count(slots, window, dtype, choice):
        dense = dtype.itemsize * (choice not in QUANTISED or choice == "int8" and beside)
        small = {"int8": 1, "int4": 0.5}.get(choice, 0)
        return int(VALUES * (dense + small)) + slots * window * kv * dtype.itemsize

    return count


def choose(name, place, free, *, kv=0, half=torch.bfloat16):
    given = name, place, needed(place, kv), free, "some model"
    return choose_dtype(*given, slots=8, window=8192, half=half)


@pytest.mark.parametrize(
    "name, place, gigabytes, choice",
    [  # just enough and just too little for each rule; 4, 2, in int8 1, in int4 0.5 GB
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
        ("int4", CPU, 99, ("int4", torch.bfloat16)),
        ("int4", CPU, 0.51, ("int4", torch.bfloat16)),
        ("int4", CUDA, 0.51, ("int4", torch.bfloat16)),
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
    "name, choice, sentences",
    [  # a card of before Ampere: float16 wherever nothing else was asked for
        ("auto", ("float16", torch.float16), 0),
        ("int8", ("int8", torch.float16), 0),
        ("float16", ("float16", torch.float16), 0),
        ("float32", ("float32", torch.float32), 0),
        ("bfloat16", ("bfloat16", torch.bfloat16), 1),
    ],
)
def test_a_card_that_only_emulates_bfloat16(name, choice, sentences, caplog):
    assert choose(name, CUDA, 99e9, half=torch.float16) == choice
    said = "bfloat16 is only emulated on cuda, slowly: --dtype float16 is faster."
    assert [record.getMessage() for record in caplog.records] == [said] * sentences


def test_int4_is_refused_by_a_card_of_before_ampere():
    with pytest.raises(CheckpointError, match="^--dtype int4 needs a card of .* --device cpu.$"):
        choose("int4", CUDA, 99e9, half=torch.float16)
    with pytest.raises(CheckpointError) as caught:
        choose("int8", CUDA, 1e9 + RESERVE - 1, half=torch.float16)
    assert "int4" not in str(caught.value)


@pytest.mark.parametrize(
    "name, place, size, said, hint",
    [
        ("auto", CPU, 2, "bfloat16", "int4"),
        ("auto", CUDA, 2, "bfloat16", "int8"),
        ("int8", CPU, 3, "int8", "bfloat16"),
        ("int8", CUDA, 1, "int8", "int4"),
        ("int4", CUDA, 0.5, "int4", None),
        ("int4", CPU, 0.5, "int4", None),
        ("float32", CPU, 4, "float32", "bfloat16"),
        ("float32", CUDA, 4, "float32", "int8"),
        ("float16", CPU, 2, "float16", "int4"),
        ("float16", CUDA, 2, "float16", "int8"),
    ],
)
def test_too_little_memory(name, place, size, said, hint):
    with pytest.raises(CheckpointError) as caught:
        choose(name, place, size * 1e9 + RESERVE - 1)
    total = f"{(size * 1e9 + RESERVE) / 1e9:.1f}"
    assert str(caught.value) == (
        f"some model needs {total} GB of memory on {place} in {said} and {total} GB are free, "
        f"0.1 GB too few: give {f'--dtype {hint} or ' if hint else ''}a smaller checkpoint with "
        "--model."
    )


@pytest.mark.parametrize(
    "name, gigabytes, missing, ways",
    [  # 2 GB of weights, in int8 1 GB, in int4 half of that; 0.2 GB for each of 8 slots
        ("auto", 3.5, "0.1", "--slots 7 or --window 7168 or --dtype int8 or"),
        ("auto", 2.65, "1.0", "--slots 3 or --window 3072 or --dtype int8 or"),
        ("auto", 2.55, "1.1", "--slots 2 or --window 2048 or --dtype int8 --slots 7 or"),
        ("auto", 2.15, "1.5", "--dtype int8 --slots 5 or"),
        ("auto", 1.25, "2.4", "--dtype int8 --slots 1 or"),
        ("auto", 1.15, "2.5", "--dtype int4 --slots 3 or"),
        ("auto", 0.65, "3.0", ""),
        ("int8", 2.15, "0.5", "--slots 5 or --window 5120 or --dtype int4 or"),
        ("float32", 2.65, "4.6", "--dtype int8 or"),
    ],
)
def test_only_flags_that_help_are_named(name, gigabytes, missing, ways):
    free = gigabytes * 1e9 + RESERVE
    with pytest.raises(CheckpointError) as caught:
        choose(name, CUDA, free, kv=10**8 / 8192)
    end = f", {missing} GB too few: give {ways} a smaller checkpoint with --model."
    assert str(caught.value).endswith(end.replace("give  a", "give a"))
    assert choose(name, CUDA, 99e9, kv=10**8 / 8192)


def test_a_card_that_lets_nobody_in(monkeypatch):
    def mem_get_info(device):
        raise torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be ...")

    monkeypatch.setattr(torch.cuda, "mem_get_info", mem_get_info)
    with pytest.raises(CheckpointError) as caught:
        device.free_bytes(CUDA)
    assert str(caught.value) == (
        "The card cuda lets no program in now (CUDA error: out of memory): end those that "
        "nvidia-smi lists on it, or choose another with --device."
    )
    assert device.free_bytes(CPU) > 0


@pytest.mark.parametrize(
    "limit, used, free", [("1000", "600", 500), ("max", "600", None), ("500", "700", 0)]
)
def test_a_container_may_have_less_memory_than_its_machine(tmp_path, limit, used, free):
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text(used + "\n")
    (tmp_path / "memory.stat").write_text("anon 1\nactive_file 60\ninactive_file 40\n")
    assert device._cgroup_free_bytes(tmp_path) == (float("inf") if free is None else free)
    assert device._cgroup_free_bytes(tmp_path / "none") == float("inf")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "cuda:", "mps", "meta", "", "cpu:0"])
def test_unknown_devices(name):
    with pytest.raises(CheckpointError, match="--device must be auto, cpu, cuda or cuda:N"):
        device.choose_device(name)


@pytest.mark.parametrize(("place", "pins"), [(CPU, []), (torch.device("meta"), [True])])
def test_what_is_sent_to_a_card_is_copied_from_pinned_memory(monkeypatch, place, pins):
    pinned, tensor = [], torch.tensor

    def watched(values, *, dtype, pin_memory=None):
        pinned.extend([pin_memory] if pin_memory is not None else [])
        return tensor(values, dtype=dtype)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "tensor", watched)
    sent = device.send([[1, 2], [3, 4]], place)
    assert (sent.device, sent.dtype, sent.shape) == (place, torch.int64, (2, 2))
    assert pinned == pins
    assert device.send((0.5,), place, torch.double).dtype is torch.double
