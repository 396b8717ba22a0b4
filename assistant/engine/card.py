"""What keeps an NVIDIA card from being used, or from being used well: a cause and the next step.

What is found out about a machine, and what follows from it, are apart, so that any machine can be
made up. Knows drivers, wheels and compilers; no models.
"""

import importlib.util
import os
import re
import shutil
import sys
import sysconfig
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

# The oldest driver for a wheel's CUDA, by its major version:
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
DRIVERS = {"11": 450, "12": 525, "13": 580}
LEAST = (8, 0)  # the compute capability from which on cards have bfloat16, and Triton runs


class Card(NamedTuple):
    name: str
    capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides whether torch can compute on a card.

    torch: its version. cuda: the CUDA that it was built with. architectures: those it has code for,
    such as "sm_75". cards: the ones that it sees. refusal: what CUDA said instead. present: whether
    a card is built in. driver: the version of the loaded one. reachable: whether this process has a
    card's device file. visible: the variable CUDA_VISIBLE_DEVICES.
    """

    torch: str
    cuda: str | None = None
    architectures: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    refusal: str = ""
    present: bool = False
    driver: str | None = None
    reachable: bool = False
    visible: str | None = None

    @property
    def lost(self) -> bool:
        """Whether a card is here that nobody has hidden on purpose."""
        return self.present and self.visible not in ("", "-1")


# -- what is here -----------------------------------------------------------------------------


def inspect_machine() -> Machine:
    """This machine. What CUDA has to say is caught: as torch's warning it is no sentence."""
    cards: tuple[Card, ...] = ()
    failed = ""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            cards = tuple(cast(Card, at(torch.device("cuda", number))) for number in range(count))
        except (RuntimeError, torch.cuda.DeferredCudaCallError) as error:
            failed = str(error)
    return Machine(
        torch=str(torch.__version__),
        cuda=torch.version.cuda,
        architectures=tuple(torch.cuda.get_arch_list()),
        cards=cards,
        refusal="\n".join([failed, *(str(warning.message) for warning in said)]),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        **find_card(Path("/")),
    )


def at(device: torch.device) -> Card | None:
    """The Card behind a device; None for a CPU."""
    if device.type != "cuda":
        return None
    return Card(torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device))


def find_card(root: Path) -> dict[str, Any]:
    """present, driver and reachable of a Machine, from the kernel's files alone.

    A container sees its host's bus and driver, but no device file unless it was given the card.
    Under WSL the driver is that of Windows.
    """
    try:
        text = (root / "proc/driver/nvidia/version").read_text()
    except OSError:
        text = ""
    version = re.search(r"\d{3,}\.\d+(\.\d+)?", text)
    driver = version and version[0]
    wsl = (root / "usr/lib/wsl/lib/libcuda.so.1").exists()
    reachable = wsl or any((root / "dev").glob("nvidia[0-9]*"))
    present = reachable or driver is not None or _on_bus(root / "sys/bus/pci/devices")
    return {"present": present, "driver": driver, "reachable": reachable}


def _on_bus(devices: Path) -> bool:
    """Whether a display or 3D controller (class 03) of NVIDIA (vendor 10de) is plugged in."""
    for path in devices.glob("*"):
        try:
            vendor, kind = (path / "vendor").read_text(), (path / "class").read_text()
        except OSError:
            continue
        if vendor.startswith("0x10de") and kind.startswith("0x03"):
            return True
    return False


# -- what follows -----------------------------------------------------------------------------


def why_not(machine: Machine, number: int = 0) -> str | None:
    """Why torch cannot compute on this card of `machine`, and what to do; None if it can."""
    count = len(machine.cards)
    if number < count:
        return _no_code(machine, machine.cards[number])
    if count:
        return f"torch sees {count} CUDA devices here, counted from cuda:0"
    if not machine.present:
        return "torch sees 0 CUDA devices here, and there is no NVIDIA card; use --device cpu"
    if machine.cuda is None:
        return (
            f"the installed torch {machine.torch} has no CUDA; remove it with pip uninstall torch "
            "and install another as docs/gpu.md says"
        )
    least = DRIVERS.get(machine.cuda.split(".")[0], 0)
    if machine.driver is None and not machine.reachable:
        return (
            f"no NVIDIA driver is loaded; install one, which must be {least} or newer for torch's "
            f"CUDA {machine.cuda}, and restart the machine"
        )
    if not machine.reachable:
        return (
            "this process has no device file of it (/dev/nvidia0); start a container with "
            "--gpus all, and elsewhere run nvidia-smi as root"
        )
    if "too old" in machine.refusal or _major(machine.driver) < least:
        driver = f"driver {machine.driver}" if machine.driver else "driver"
        return (
            f"its {driver} is too old for torch's CUDA {machine.cuda}, which needs {least} or "
            "newer; update it, or install another torch as docs/gpu.md says"
        )
    said = re.search(r"(Error \d+:|CUDA (unknown )?error)[^(\n]*[^(\s.]", machine.refusal)
    if said is None and machine.visible is not None:
        return (
            f"the variable CUDA_VISIBLE_DEVICES={machine.visible} shows none; unset it, or name a "
            "card that nvidia-smi lists"
        )
    what = f"CUDA says {said[0]!r}" if said else "CUDA finds none"
    if "Error 802" in what:  # cards that are joined by NVSwitch wait for it
        return f"{what}; start the service nvidia-fabricmanager"
    return f"{what}; see what nvidia-smi says, and restart the machine if the driver is a new one"


def _major(driver: str | None) -> float:
    return int(driver.split(".")[0]) if driver else float("inf")


def _no_code(machine: Machine, card: Card) -> str | None:
    """Machine code runs on its own major version from its minor one on, PTX on all that is later:
    https://docs.nvidia.com/cuda/cuda-programming-guide/01-introduction/cuda-platform.html"""
    codes = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", name) for name in machine.architectures]
    built = {(code[1], (int(code[2]), int(code[3]))) for code in codes if code}  # none is ROCm's
    runs = not built or any(
        version <= card.capability and (kind == "compute" or version[0] == card.capability[0])
        for kind, version in built
    )
    if runs:
        return None
    versions = ", ".join(_dotted(version) for version in sorted({version for _, version in built}))
    return (
        f"{card.name} has compute capability {_dotted(card.capability)} and the installed torch "
        f"{machine.torch} is built for {versions}; install another as docs/gpu.md says"
    )


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def half_dtype(card: Card | None) -> torch.dtype:
    """The two-byte numbers that a card computes in: bfloat16 is emulated before Ampere."""
    return torch.float16 if card and card.capability < LEAST else torch.bfloat16


def why_no_kernels(device: torch.device) -> str | None:
    """Why Triton's kernels cannot be tried on a CUDA device, and what to do; None if they can."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; install it with pip install triton -c constraints.txt"
    include = Path(sysconfig.get_path("include", _scheme()))
    return missing_for_kernels(cast(Card, at(device)), include, os.environ, shutil.which)


def missing_for_kernels(
    card: Card, include: Path, environ: Mapping[str, str], which: Callable[[str], str | None]
) -> str | None:
    """The same, of any machine. Triton builds a launcher for each kernel when that first runs, with
    a C compiler (CC, else gcc, else clang) and Python's headers, whose folder is `include`."""
    if card.capability < LEAST:
        return (
            f"they need a card of compute capability 8.0 and {card.name} has "
            f"{_dotted(card.capability)}, where --dtype auto is float16"
        )
    compiler = environ.get("CC")
    if compiler is not None and not which(compiler):
        return f"the variable CC names no program ({compiler!r}); name a C compiler, or unset it"
    if compiler is None and not (which("gcc") or which("clang")):
        return "there is no C compiler; install one with apt-get install gcc libc6-dev"
    folders = [str(include), *filter(None, environ.get("CPATH", "").split(":"))]
    if not any(Path(folder, "Python.h").exists() for folder in folders):
        package = f"python3.{sys.version_info.minor}-dev"
        return f"{include} has no Python.h; install the headers with apt-get install {package}"
    return None


def _scheme() -> str:
    """Debian's own scheme names a folder under /usr/local that has no headers; nor asks Triton."""
    scheme = sysconfig.get_default_scheme()
    return "posix_prefix" if scheme == "posix_local" else scheme
