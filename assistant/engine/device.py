"""Which device and number format a model gets, and whether it fits in the memory that is free.

Knows bytes, no models.
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


def choose_dtype(name, device, needed, free, what):
    """What a --dtype flag comes to, once it is known to fit: (choice, dtype of dense tensors).

    auto is bfloat16 on CUDA; on a CPU it stays "auto" with float32 tensors, for the engine to
    choose by measuring, unless those take more than half of the free memory: then it is bfloat16.
    Under int8 the tensors that are not int8 follow the same rule.

    needed: function of (dtype, int8) to the bytes that this takes. free: bytes. what: the model's
    name, for the sentence. Raises CheckpointError.
    """

    def total(choice, dtype):
        return needed(dtype, choice == "int8") + RESERVE

    choice = name
    if name in ("auto", "int8"):
        roomy = device.type == "cpu" and total(name, torch.float32) <= free / 2
        dtype = torch.float32 if roomy else torch.bfloat16
        choice = "bfloat16" if name == "auto" and not roomy else name
    else:
        dtype = getattr(torch, name)
    size = total(choice, dtype)
    if size > free:
        least = "bfloat16" if device.type == "cpu" else "int8"
        narrower = f", --dtype {least}" if total(least, torch.bfloat16) < size else ""
        raise CheckpointError(
            f"{what} needs {size / 1e9:.1f} GB of memory on {device} in {choice} and "
            f"{free / 1e9:.1f} GB are free: choose a smaller checkpoint with --model{narrower} or "
            "fewer --slots."
        )
    return choice, dtype


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
