"""Which device and number format a model gets, and whether it fits in the memory that is free.

Knows counts of values, no models.
"""

from pathlib import Path

import psutil
import torch

from assistant.errors import CheckpointError

RESERVE = 256 * 2**20  # bytes for activations, the sampler and the allocator's rounding


def choose_device(name):
    """The torch.device for a --device flag: auto, cpu, cuda or cuda:N. Raises CheckpointError."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "cuda" or (name.startswith("cuda:") and name[5:].isdecimal()):
        if int(name[5:] or 0) < count:
            return torch.device(name)
        raise CheckpointError(
            f"There is no device {name}: torch sees {count} CUDA devices here; use --device cpu or "
            "check the driver and the installed torch."
        )
    raise CheckpointError(f"--device must be auto, cpu, cuda or cuda:N, not {name!r}.")


def choose_dtype(name, device, values, what):
    """The torch.dtype for a --dtype flag, once it is known to fit.

    auto is bfloat16 on CUDA; on a CPU float32, unless that takes more than half of the free memory.
    values: how many numbers will be held, weights and KV cache. what: the model's name, for the
    sentence. Raises CheckpointError.
    """
    free = free_bytes(device)
    if name == "auto":
        roomy = device.type == "cpu" and _needed(values, torch.float32) <= free / 2
        name = "float32" if roomy else "bfloat16"
    dtype = getattr(torch, name)
    needed = _needed(values, dtype)
    if needed > free:
        narrower = ", --dtype bfloat16" if dtype is torch.float32 else ""
        raise CheckpointError(
            f"{what} needs {needed / 1e9:.1f} GB of memory on {device} in {name} and "
            f"{free / 1e9:.1f} GB are free: choose a smaller checkpoint with --model{narrower} or "
            "fewer --slots."
        )
    return dtype


def _needed(values, dtype):
    return values * dtype.itemsize + RESERVE


def free_bytes(device):
    """Bytes of memory that can be taken on `device` now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(psutil.virtual_memory().available, _cgroup_free_bytes())


def _cgroup_free_bytes(folder=Path("/sys/fs/cgroup")):
    """What a container's memory limit leaves; its page cache gives way. No limit: infinity."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(stat["inactive_file"]))
    except (OSError, ValueError, KeyError):
        return float("inf")
