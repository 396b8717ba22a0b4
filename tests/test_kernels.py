"""The Triton kernels: right in the interpreter and on a GPU, and compiled for cards not present.

Triton reads TRITON_INTERPRET when it is first imported, so the cases of kernel_cases.py run in a
process of their own.
"""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from assistant.engine import kernels

ROOT = Path(__file__).parent.parent
NO_TRITON = importlib.util.find_spec("triton") is None
needs_triton = pytest.mark.skipif(NO_TRITON, reason="triton has no wheel for this machine")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


def version(package):
    return tuple(int(part) for part in importlib.metadata.version(package).split(".")[:2])


@needs_triton
@pytest.mark.parametrize("interpret", ["1", pytest.param("0", marks=needs_gpu)])
def test_cases(interpret):
    if interpret == "1" and version("triton") < (3, 7) and version("numpy") >= (2, 4):
        pytest.skip("the interpreter of Triton 3.6 needs a NumPy older than 2.4")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/kernel_cases.py"],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": interpret},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Card:
    """A Triton driver for a card that is not there: it compiles for it and launches nothing."""

    def __init__(self, capability, shared, tools):
        self.capability, self.tools = capability, tools
        self.compiled = {}  # a kernel's name -> bytes of local memory: registers that did not fit
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": shared},
            load_binary=self.load,
        )

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        return 1000 + self.capability  # no real card's: Triton keeps its binaries by this number

    def get_current_stream(self, device):
        return 0

    def launcher_cls(self, source, metadata):
        return lambda *arguments: None

    def load(self, name, binary, shared, device):
        path = self.tools / "kernel.cubin"
        path.write_bytes(binary)
        usage = subprocess.check_output([CUOBJDUMP, "--dump-resource-usage", path], text=True)
        stack = int(re.search(r"STACK:(\d+)", usage)[1])
        self.compiled[name] = max(stack, self.compiled.get(name, 0))
        return "module", "function", 0, 0, 1024


if not NO_TRITON:
    CUOBJDUMP = Path(importlib.util.find_spec("triton").origin).parent.joinpath(
        "backends", "nvidia", "bin", "cuobjdump"
    )


@needs_triton
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("capability", "shared_kib"), [(86, 99), (90, 227)])
def test_starcoders_kernels_compile_and_fit(capability, shared_kib, dtype, tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from triton.runtime import driver

    card = Card(capability, shared_kib * 1024, tmp_path)
    monkeypatch.setattr(driver, "_active", card)

    def empty(*shape, dtype=dtype):
        return torch.empty(shape, dtype=dtype)

    places = empty(2, dtype=torch.int64)
    kernels.mqa_decode(empty(2, 48, 128), empty(2, 8192, 256), places, places, 0.1)
    for outs, inputs in [(6144, 24576), (24576, 6144)]:  # with and without split inputs
        weight, scale = empty(outs, inputs, dtype=torch.int8), empty(outs, dtype=torch.float32)
        kernels.int8_linear(empty(64, inputs), weight, scale, empty(outs))
    kernels.add_norm(empty(2, 6144), empty(2, 6144), empty(6144), empty(6144), 1e-5)
    assert set(card.compiled) == {
        "attend_split",
        "attend_join",
        "multiply_int8",
        "add_parts",
        "add_norm",
    }
    assert max(card.compiled.values()) <= 64


@pytest.mark.parametrize(
    ("heads", "head_dim", "takes"),
    [
        (48, 128, True),
        (1, 16, True),
        (64, 64, True),
        (65, 64, False),
        (0, 64, False),
        (48, 96, False),
        (48, 256, False),
        (48, 8, False),
    ],
)
def test_supported(heads, head_dim, takes):
    assert kernels.supported(heads, head_dim) is takes


def test_not_available_on_a_cpu():
    assert kernels.available(torch.device("cpu")) is False


def test_not_available_without_triton():
    code = (
        "import sys, torch; sys.modules['triton'] = None\n"
        "from assistant.engine import kernels\n"
        "print(kernels.available(torch.device('cuda')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


@needs_triton
def test_triton_is_imported_late():
    code = "import sys; from assistant.engine import kernels; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


@pytest.mark.parametrize(
    ("outs", "inputs", "splits"),
    [(6144, 6144, 4), (6400, 6144, 4), (6144, 24576, 4), (24576, 6144, 1), (49152, 6144, 1)]
    + [(64, 512, 1), (64, 2048, 2), (64, 10**6, 8)],
)
def test_a_weight_is_cut_into_enough_programs(outs, inputs, splits):
    assert kernels._input_splits(outs, inputs) == splits
