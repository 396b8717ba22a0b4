"""Which device and number format a model gets, whether it fits in the memory that is free, and what
makes a card differ from a CPU for those who compute on it.

Knows bytes, no models.
"""

import logging
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path

import psutil
import torch

from assistant.engine import card
from assistant.errors import CheckpointError
from assistant.text import quoted

log = logging.getLogger(__name__)

WINDOW_STEP = 1024  # tokens: windows that follow from memory are multiples of it
RESERVE = 256 * 2**20  # bytes for activations, the graphs themselves and the allocator's rounding
QUANTISED = ("int8", "int4")  # choices for weights that are no torch.dtype by themselves
_CPU = torch.device("cpu")
_PAGE_CACHE = ("active_file", "inactive_file")  # in a cgroup's memory.stat; both are reclaimed
_HOST = {"cpu"}  # kinds of device that are done with what was asked when the call returns


def choose_device(name: str) -> torch.device:
    """For a --device flag: auto, cpu, cuda or cuda:N. Raises CheckpointError.

    Where auto leaves a card unused, the log says why.
    """
    if name == "cpu":
        return torch.device("cpu")
    if name not in ("auto", "cuda") and not re.fullmatch(r"cuda:(0|[1-9][0-9]{0,3})", name):
        raise CheckpointError(
            f"--device must be auto, cpu, cuda or cuda:N, or several of "
            f"them with commas between, not {quoted(name)}."
        )
    machine = card.inspect_machine()
    why_not = card.why_not(machine, 0 if name == "auto" else int(name[5:] or 0))
    if not why_not:
        return torch.device("cuda" if name == "auto" else name)
    if name != "auto":
        raise CheckpointError(f"--device {name} cannot be used: {why_not}.")
    if machine.lost:
        log.warning("The NVIDIA card here is not used, the CPU computes instead: %s.", why_not)
    return torch.device("cpu")


def choose_devices(name: str) -> list[torch.device]:
    """For a --device flag: those that a model may lie on, in the order in which they are filled.
    Raises CheckpointError.

    What choose_device takes, or such names with commas between: cards, and the CPU behind them.
    Where torch can compute on several cards, auto is all of them and the CPU.
    """
    names = [part.strip() for part in name.split(",")]
    if len(names) == 1:
        machine = card.inspect_machine() if name == "auto" else None
        cards = range(len(machine.cards)) if machine else ()
        usable = [n for n in cards if machine and not card.why_not(machine, n)]
        if usable in ([], [0]):
            return [choose_device(name)]
        names = [*(f"cuda:{n}" for n in usable), *["cpu"] * (len(usable) > 1)]
    devices = [choose_device("cuda:0" if part == "cuda" else part) for part in names]
    if "auto" in names or _CPU in devices[:-1] or len({*devices}) < len(devices):
        raise CheckpointError(
            f"--device {name} must name cards, each once, with or without cpu behind them, such as "
            "cuda:0,cuda:1 or cuda:0,cpu."
        )
    return devices


def number_format(
    name: str, device: torch.device, half: torch.dtype, *, roomy: bool = False
) -> tuple[str, torch.dtype]:
    """What a --dtype flag comes to: see choose_dtype. roomy: whether float32 is what auto and int8
    take for the tensors that are dense. Raises CheckpointError."""
    if name == "int4" and half is not torch.bfloat16:
        raise CheckpointError(
            f"--dtype int4 needs a card of compute capability 8.0 and {device} has less: give "
            "--dtype int8, or --device cpu."
        )
    if name in ("auto", "int8"):
        dtype = torch.float32 if roomy else half
        return str(half).removeprefix("torch.") if name == "auto" and not roomy else name, dtype
    return name, half if name == "int4" else getattr(torch, name)


def choose_dtype(
    name: str,
    device: torch.device,
    needed: Callable[[int, int, torch.dtype, str], int],
    free: float,
    what: str,
    *,
    slots: int,
    window: int,
    half: torch.dtype = torch.bfloat16,
) -> tuple[str, torch.dtype]:
    """What a --dtype flag comes to, once it is known to fit: (choice, dtype of dense tensors).

    auto is `half` on CUDA; on a CPU it stays "auto" with float32 tensors, for the engine to
    choose by measuring, unless those take more than half of the free memory: then it is bfloat16.
    Under int8 the tensors that are not int8 follow the same rule; under int4 they are `half`.

    needed: the bytes that (slots, window, dtype, choice) take. free: bytes. what: the model's name,
    for the sentence. half: the two-byte numbers that `device` computes in. Raises CheckpointError.
    """

    def total(choice: str, dtype: torch.dtype, slots: int = slots, window: int = window) -> int:
        return needed(slots, window, dtype, choice) + RESERVE

    def most_slots(choice: str, dtype: torch.dtype) -> int:
        return bisect_right(range(1, slots + 1), free, key=lambda n: total(choice, dtype, n))

    def longest(choice: str, dtype: torch.dtype) -> int:
        shorter = range(WINDOW_STEP, window, WINDOW_STEP)
        fit = bisect_right(shorter, free, key=lambda n: total(choice, dtype, window=n))
        return fit * WINDOW_STEP

    roomy = device.type == "cpu" and total(name, torch.float32) <= free / 2
    choice, dtype = number_format(name, device, half, roomy=roomy)
    size = total(choice, dtype)
    if size > free:
        smaller = ["bfloat16" if device.type == "cpu" else "int8", "int4"]
        smaller = [less for less in smaller if total(less, half) < size]
        ways = ways_out(most_slots, longest, choice, dtype, smaller, half, slots)
        raise CheckpointError(
            f"{what} needs {size / 1e9:.1f} GB of memory on {device} in {choice} and "
            f"{free / 1e9:.1f} GB are free, {ceil((size - free) / 1e8) / 10} GB too few: "
            f"give {ways}."
        )
    if name == "bfloat16" and half is not torch.bfloat16:
        log.warning("bfloat16 is only emulated on %s, slowly: --dtype float16 is faster.", device)
    return choice, dtype


def ways_out(
    most_slots: Callable[[str, torch.dtype], int],
    longest: Callable[[str, torch.dtype], int],
    choice: str,
    dtype: torch.dtype,
    smaller: Sequence[str],
    half: torch.dtype,
    slots: int,
) -> str:
    """What to give where a model does not fit, as people read it; flags that would help alone.

    most_slots, longest: how many slots fit with (choice, dtype), and how long a window. choice,
    dtype: those that do not fit. smaller: choices that take less, the widest first.
    """
    ways = ["a smaller checkpoint with --model"]
    for less in smaller:
        if (less != "int4" or half is torch.bfloat16) and (fit := most_slots(less, half)):
            ways.insert(0, f"--dtype {less}" + f" --slots {fit}" * (fit < slots))
            break
    if fit := longest(choice, dtype):
        ways.insert(0, f"--window {fit}")
    if fit := most_slots(choice, dtype):
        ways.insert(0, f"--slots {fit}")
    return " or ".join(ways)


def free_bytes(device: torch.device) -> float:
    """Bytes of memory that can be taken on `device` now. Raises CheckpointError."""
    if device.type == "cuda":
        try:
            free: int = torch.cuda.mem_get_info(device)[0]  # the first call that takes some
            return free
        except RuntimeError as error:
            raise CheckpointError(
                f"The card {device} lets no program in now ({str(error).splitlines()[0]}): end "
                "those that nvidia-smi lists on it, or choose another with --device."
            ) from error
    return min(psutil.virtual_memory().available, _cgroup_free_bytes())


def _cgroup_free_bytes(folder: Path = Path("/sys/fs/cgroup")) -> float:
    """What a container's memory limit leaves; its page cache gives way. No limit: infinity."""
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, limit - used + sum(int(stat[kind]) for kind in _PAGE_CACHE))
    except (OSError, ValueError, KeyError):
        return float("inf")


def on_card(device: torch.device) -> bool:
    """Whether `device` computes while this thread goes on: every one but the CPU."""
    return device.type not in _HOST


def use_card(device: torch.device) -> None:
    """Make `device` the one that this thread's streams and graphs are of, and set how torch's own
    operators compute there."""
    torch.cuda.set_device(device)
    # cuDNN makes a plan for every length of a prompt, which takes longer than the prompt.
    torch.backends.cuda.enable_cudnn_sdp(False)
    # Where a product's sum is computed in parts, those are added in float32.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def send(
    values: Sequence[object], device: torch.device, dtype: torch.dtype = torch.long
) -> torch.Tensor:
    """`values`, (nested) sequences of numbers, as a tensor on `device`. Does not wait for a card,
    which may still compute the step before: the copy is made from pinned memory."""
    if not on_card(device):
        return torch.tensor(values, dtype=dtype)
    return pinned(values, dtype).to(device, non_blocking=True)


def pinned(values: Sequence[object], dtype: torch.dtype = torch.long) -> torch.Tensor:
    """`values` as a tensor in memory that a card reads by itself."""
    return torch.tensor(values, dtype=dtype, pin_memory=torch.cuda.is_available())


def upload(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`tensor` of the host on `device`, as send() does it."""
    if not on_card(device):
        return tensor
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=torch.cuda.is_available())
    return copy.copy_(tensor).to(device, non_blocking=True)


def receive(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` in host memory, once the event is there that is recorded after this call."""
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=torch.cuda.is_available())
    return host.copy_(tensor, non_blocking=True)
