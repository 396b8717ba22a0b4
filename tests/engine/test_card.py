"""What is said of cards that cannot be used: made-up machines, each with its sentence."""

import importlib.util
import inspect
import logging
import re
import shutil
import subprocess
import sys
import sysconfig
import warnings
from dataclasses import replace

import pytest
import torch

from assistant.engine import card
from assistant.engine.card import (
    Card,
    Machine,
    find_card,
    half_dtype,
    inspect_machine,
    missing_for_kernels,
    why_not,
)
from assistant.engine.device import choose_device
from assistant.engine.model import kernels
from assistant.errors import CheckpointError
from assistant.paths import ROOT

GUIDE = (ROOT / "docs/gpu.md").read_text()
ENGINE = ROOT / "assistant/engine"
NO_TRITON = importlib.util.find_spec("triton") is None
T4, V100 = Card("Tesla T4", (7, 5)), Card("Tesla V100", (7, 0))
A100, L4, H100 = Card("A100", (8, 0)), Card("L4", (8, 9)), Card("H100", (9, 0))
B200, RTX5090, SPARK = Card("B200", (10, 0)), Card("RTX 5090", (12, 0)), Card("GB10", (12, 1))
# https://github.com/pytorch/pytorch/blob/main/RELEASE.md#pytorch-cuda-support-matrix
CUDA_12_6 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CUDA_13_0 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")

NO_CARD = Machine("2.13.0+cpu")
PYPI = Machine("2.13.0+cu130", "13.0", CUDA_13_0)
DRIVEN = replace(PYPI, present=True, driver="580.82.07", reachable=True)
OLDER = Machine(
    "2.13.0+cu126", "12.6", CUDA_12_6, present=True, driver="535.183.01", reachable=True
)


def warned(text):
    """As torch words what cudaGetDeviceCount answered."""
    return (
        "CUDA initialization: Unexpected error from cudaGetDeviceCount(). Did you run some cuda "
        "functions before calling NumCudaDevices() that might have already set an error? "
        f"{text} (Triggered internally at /pytorch/c10/cuda/CUDAFunctions.cpp:119.)"
    )


TOO_OLD = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 12080). "
    "Please update your GPU driver by downloading and installing a new version from the URL: ..."
)


# -- a card that cannot be used ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (replace(NO_CARD, present=True), "torch 2.13.0+cpu has no CUDA; remove it with pip un"),
        (replace(NO_CARD, present=True, driver="580.1"), "torch 2.13.0+cpu has no CUDA; "),
        (
            replace(PYPI, present=True),
            "no NVIDIA driver is loaded; install one, which must be 580 ",
        ),
        (
            replace(DRIVEN, reachable=False),
            "no device file of it (/dev/nvidia0); start a container",
        ),
        (
            replace(DRIVEN, driver="570.133.07"),
            "driver 570.133.07 is too old for torch's CUDA 13.0, which needs 580 or newer; update",
        ),
        (
            replace(DRIVEN, driver=None, refusal=TOO_OLD),  # as under WSL
            "its driver is too old for torch's CUDA 13.0, which needs 580 or newer; update it",
        ),
        (
            replace(OLDER, driver="470.256.02"),
            "driver 470.256.02 is too old for torch's CUDA 12.6, which needs 525 or newer",
        ),
        (replace(DRIVEN, visible="7"), "CUDA_VISIBLE_DEVICES=7 shows none; unset it, or name"),
        (replace(DRIVEN, visible=""), "CUDA_VISIBLE_DEVICES= shows none; unset it"),
        (
            replace(DRIVEN, refusal=warned("Error 802: system not yet initialized")),
            "CUDA says 'Error 802: system not yet initialized'; start the service nvidia-fabric",
        ),
        (
            replace(DRIVEN, refusal=warned("Error 803: system has unsupported display driver")),
            "CUDA says 'Error 803: system has unsupported display driver'; see what nvidia-smi",
        ),
        (
            replace(DRIVEN, visible="0", refusal="CUDA error: out of memory\nCUDA kernel errors"),
            "CUDA says 'CUDA error: out of memory'; see what nvidia-smi says",
        ),
        (DRIVEN, "CUDA finds none; see what nvidia-smi says, and restart the machine"),
        (
            replace(DRIVEN, cards=(V100,)),
            "Tesla V100 has compute capability 7.0 and the installed torch 2.13.0+cu130 is built "
            "for 7.5, 8.0, 8.6, 9.0, 10.0, 12.0; install another",
        ),
        (
            replace(OLDER, cards=(RTX5090,)),
            "RTX 5090 has compute capability 12.0 and the installed",
        ),
    ],
)
def test_a_card_that_cannot_be_used(machine, words, monkeypatch, caplog):
    assert words in why_not(machine) and not why_not(machine).endswith(".")
    monkeypatch.setattr(card, "inspect_machine", lambda: machine)
    with pytest.raises(CheckpointError, match="^--device cuda cannot be used: ") as caught:
        choose_device("cuda")
    assert words in str(caught.value)
    assert choose_device("cpu") == torch.device("cpu") and not caplog.records
    assert choose_device("auto") == torch.device("cpu")
    if machine.visible == "":  # hidden on purpose
        assert not caplog.records
    else:
        (record,) = caplog.records
        said = record.getMessage()
        assert record.levelno == logging.WARNING and "\n" not in said and said.endswith(".")
        assert said.startswith("The NVIDIA card here is not used, the CPU computes instead: ")
        assert words in said
    monkeypatch.setattr(card, "inspect_machine", lambda: replace(DRIVEN, cards=(H100,)))
    assert choose_device("auto") == torch.device("cuda")


@pytest.mark.parametrize(
    "machine",
    [replace(DRIVEN, cards=(each,)) for each in (T4, A100, L4, H100, B200, RTX5090, SPARK)]
    + [replace(OLDER, cards=(each,)) for each in (V100, T4, A100, L4, H100)]
    + [
        replace(DRIVEN, cards=(H100,), visible="0"),
        replace(DRIVEN, cards=(H100,), driver="570.1"),  # with NVIDIA's package for compatibility
        replace(DRIVEN, cards=(Card("later", (13, 0)),), architectures=("sm_90", "compute_120")),
        replace(DRIVEN, cards=(H100,), architectures=("sm_75", "sm_90a")),
        Machine("2.13.0+rocm7.2", None, ("gfx942",), (Card("MI300X", (9, 4)),)),
    ],
)
def test_a_healthy_card(machine, monkeypatch, caplog):
    assert why_not(machine) is None
    monkeypatch.setattr(card, "inspect_machine", lambda: machine)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(CheckpointError, match="sees 1 CUDA devices here, counted from cuda:0"):
        choose_device("cuda:1")
    assert not caplog.records


def test_each_of_several_cards_is_looked_at(monkeypatch):
    monkeypatch.setattr(card, "inspect_machine", lambda: replace(DRIVEN, cards=(H100, V100)))
    assert choose_device("auto") == torch.device("cuda")
    with pytest.raises(CheckpointError, match="V100 has compute capability 7.0"):
        choose_device("cuda:1")


@pytest.mark.parametrize("machine", [NO_CARD, PYPI, Machine("2.13.0+rocm7.2")])
def test_nothing_is_said_where_there_is_no_card(machine, monkeypatch, caplog):
    monkeypatch.setattr(card, "inspect_machine", lambda: machine)
    assert choose_device("auto") == torch.device("cpu") and not caplog.records
    with pytest.raises(CheckpointError, match="there is no NVIDIA card; use --device cpu"):
        choose_device("cuda")


def test_a_sentence_is_seen_in_the_terminal(tiny_checkpoint, tmp_path):
    """Nothing sets logging up: Python itself prints what a program warns of."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "tiny")
    (folder / "tokenizer.json").unlink()  # which ends the start
    code = (
        "import sys; from assistant import __main__ as app; from assistant.engine import card\n"
        "card.inspect_machine = lambda: card.Machine('2.13.0+cpu', present=True)\n"
        "sys.exit(app.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "--port", "0", "--model", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    said, end = done.stderr.splitlines()
    assert said.startswith("The NVIDIA card here is not used, the CPU computes instead: the inst")
    assert "tokenizer" in end and done.returncode == 1


# -- finding out ------------------------------------------------------------------------------


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


DRIVER = {
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  "
    "Sun May 12 19:39:15 UTC 2024\nGCC version:  gcc version 12.2.0\n"
}
OPEN_DRIVER = {
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  "
    "580.82.07  Release Build  (root@host)  Thu Aug 28 2025\n"
}
NODES = {"dev/nvidia3": "", "dev/nvidiactl": ""}


def bus(vendor, kind):
    folder = "sys/bus/pci/devices/0000:01:00.0"
    return {f"{folder}/vendor": vendor + "\n", f"{folder}/class": kind + "\n"}


@pytest.mark.parametrize(
    ("files", "present", "driver", "reachable"),
    [
        ({}, False, None, False),
        ({"dev/null": "", "dev/nvidiactl": "", "dev/nvidia-uvm": ""}, False, None, False),
        (bus("0x1002", "0x030000"), False, None, False),  # of AMD
        (bus("0x10de", "0x040300"), False, None, False),  # the sound of a card that is passed on
        (bus("0x10de", "0x068000"), False, None, False),  # a switch between cards
        (bus("0x10de", "0x030000"), True, None, False),
        (bus("0x10de", "0x030200"), True, None, False),
        (DRIVER, True, "535.183.01", False),  # a container of which the card is kept away
        (DRIVER | NODES, True, "535.183.01", True),
        (OPEN_DRIVER | NODES | bus("0x10de", "0x030200"), True, "580.82.07", True),
        ({"proc/driver/nvidia/version": "?"}, False, None, False),
        ({"usr/lib/wsl/lib/libcuda.so.1": "", "dev/dxg": ""}, True, None, True),
    ],
)
def test_a_card_is_found_by_the_files_of_the_kernel(tmp_path, files, present, driver, reachable):
    write(tmp_path, files)
    (tmp_path / "sys/bus/pci/devices/broken").mkdir(parents=True)
    found = {"present": present, "driver": driver, "reachable": reachable}
    assert find_card(tmp_path) == found


def test_what_cuda_says_is_caught(monkeypatch, recwarn):
    def is_available():
        warnings.warn(warned("Error 802: system not yet initialized"), stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(card, "find_card", lambda root: {"present": True, "reachable": True})
    machine = replace(inspect_machine(), cuda="13.0")
    assert not recwarn and "CUDA says 'Error 802: system not yet initialized'" in why_not(machine)


@pytest.mark.parametrize("error", [RuntimeError, torch.cuda.DeferredCudaCallError])
def test_a_card_that_fails_when_it_is_first_asked(monkeypatch, error):
    def at(device):
        raise error("CUDA error: all CUDA-capable devices are busy or unavailable\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(card, "at", at)
    monkeypatch.setattr(card, "find_card", lambda root: {"present": True, "reachable": True})
    machine = replace(inspect_machine(), cuda="13.0")
    assert "'CUDA error: all CUDA-capable devices are busy or unavailable'" in why_not(machine)


def test_this_machine_is_looked_at_in_silence(recwarn):
    machine = inspect_machine()
    assert len(machine.cards) == torch.cuda.device_count() and not recwarn
    assert machine.torch == torch.__version__


# -- a card that can be used, but not well ----------------------------------------------------


@pytest.mark.parametrize(
    ("here", "dtype"),
    [(T4, torch.float16), (V100, torch.float16)]
    + [(each, torch.bfloat16) for each in (A100, L4, H100, B200, RTX5090, None)],
)
def test_bfloat16_is_for_cards_that_have_it(here, dtype):
    assert half_dtype(here) is dtype


NO_GCC = "there is no C compiler; install one with apt-get install gcc libc6-dev"
OLD = "they need a card of compute capability 8.0 and Tesla T4 has 7.5, where --dtype auto is float"


@pytest.mark.parametrize(
    ("here", "programs", "environ", "headers", "words"),
    [
        (A100, {"gcc"}, {}, True, None),
        (H100, {"clang"}, {}, True, None),
        (H100, {"cc", "icx"}, {"CC": "icx"}, True, None),
        (RTX5090, {"gcc"}, {"CPATH": ":{headers}"}, False, None),
        (A100, {"cc", "ld"}, {}, True, NO_GCC),  # Triton does not ask for cc
        (A100, set(), {}, False, NO_GCC),
        (A100, {"gcc"}, {"CC": "icx"}, True, "the variable CC names no program ('icx'); name a C "),
        (A100, {"gcc"}, {"CC": ""}, True, "the variable CC names no program (''); name a C compi"),
        (
            A100,
            {"gcc"},
            {},
            False,
            "has no Python.h; install the headers with apt-get install pyth",
        ),
        (A100, {"gcc"}, {"CPATH": ""}, False, "has no Python.h; install the headers with apt-get"),
        (T4, {"gcc"}, {}, True, OLD),
        (T4, set(), {}, False, OLD),
    ],
)
def test_what_triton_lacks(here, programs, environ, headers, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    include, elsewhere = tmp_path / "include", tmp_path / "elsewhere"
    write(tmp_path, {"elsewhere/Python.h": "", **({"include/Python.h": ""} if headers else {})})
    environ = {name: text.format(headers=elsewhere) for name, text in environ.items()}
    said = missing_for_kernels(
        here, include, environ, lambda name: name if name in programs else None
    )
    assert words in said and not said.endswith(".") if words else said is None


@pytest.mark.parametrize(
    "words",
    [
        *("does not fit in memory", "failed while it was tried", "computes replies without"),
        *("compiling took longer than", "triton is not installed", "there is no C compiler"),
        *("the variable CC names no program", "has no Python.h", "lets no program in now"),
        *("is too old for torch's CUDA", "no NVIDIA driver is loaded", "only emulated"),
    ],
)
def test_the_guide_says_what_to_do(words):
    """Each is said by the program, too."""
    (row,) = re.findall(rf"^\| `{re.escape(words)}` \| (.+) \|$", GUIDE, re.M)
    assert len(row) > 10
    assert any(words in re.sub(r'"\s+f?"', "", path.read_text()) for path in ENGINE.rglob("*.py"))


@pytest.mark.skipif(NO_TRITON, reason="triton has no wheel for this machine")
def test_kernels_that_lack_something_are_not_tried(monkeypatch):
    monkeypatch.setattr(card, "at", lambda device: T4)
    refused = kernels.unusable_steps(torch.device("cuda"), 65, 64)
    assert list(refused) == ["int8", "kernels"]
    assert all(why.startswith(OLD) for why in refused.values())


def test_kernels_without_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    said = kernels.unusable_steps(torch.device("cuda"), 48, 128)
    assert said["kernels"].startswith("triton is not installed; install it with pip install triton")


@pytest.mark.skipif(NO_TRITON, reason="triton has no wheel for this machine")
def test_the_compiler_and_the_headers_are_those_that_triton_takes(monkeypatch, tmp_path):
    """Triton's own build is given a compiler that only writes its arguments down."""
    from triton.runtime import build

    asked = []
    monkeypatch.setattr(build.subprocess, "check_call", lambda command, **_: asked.append(command))
    monkeypatch.setattr(build.shutil, "which", lambda name: name)
    monkeypatch.delenv("CC", raising=False)
    none = [[]] * (len(inspect.signature(build._build).parameters) - 3)  # directories and flags
    build._build("x", "x.c", str(tmp_path), *none)
    monkeypatch.setenv("CC", "mine")
    build._build("x", "x.c", str(tmp_path), *none)
    first, second = asked
    assert (first[0], second[0]) == ("gcc", "mine")
    assert f"-I{sysconfig.get_path('include', card._scheme())}" in first
