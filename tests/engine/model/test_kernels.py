"""The Triton kernels: right in the interpreter and on a GPU, and compiled for cards not present.

Triton reads TRITON_INTERPRET when it is first imported, so the cases of kernel_cases.py and
kernel_bounds.py run in processes of their own.
"""

import dataclasses
import importlib.metadata
import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from assistant.engine.model import kernels
from assistant.paths import ROOT
from tests.support.compiled import CARDS, compile_all, table

NO_TRITON = importlib.util.find_spec("triton") is None
needs_triton = pytest.mark.skipif(NO_TRITON, reason="triton has no wheel for this machine")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


def version(package):
    return tuple(int(part) for part in importlib.metadata.version(package).split(".")[:2])


@needs_triton
@pytest.mark.parametrize(
    ("file", "interpret"),
    [
        ("kernel_cases", "1"),
        ("kernel_bounds", "1"),
        pytest.param("kernel_cases", "0", marks=needs_gpu),
    ],
)
def test_cases(file, interpret):
    if interpret == "1" and version("triton") < (3, 7) and version("numpy") >= (2, 4):
        pytest.skip("the interpreter of Triton 3.6 needs a NumPy older than 2.4")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"tests/support/{file}.py"],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": interpret},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_triton
@pytest.mark.parametrize(
    ("capability", "dtype"),
    [(86, torch.bfloat16), (90, torch.bfloat16)],  # the least memory, and the most
)
def test_starcoders_kernels_compile_and_fit(capability, dtype):
    compiled = compile_all(capability, (dtype,), ("starcoder",), rows=(64,))
    assert {each.kernel for each in compiled} == {
        *("attend_split", "attend_join", "multiply_int8", "add_parts", "add_norm")
    }
    assert all(each.fits for each in compiled), table(compiled)


@needs_triton
@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("capability", CARDS)
def test_every_kernel_compiles_and_fits(capability):
    compiled = compile_all(capability)
    assert all(each.fits for each in compiled), table(compiled)
    assert len(compiled) > 60


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
    assert kernels.is_supported(heads, head_dim) is takes


def test_a_cpu_has_none(monkeypatch):
    monkeypatch.setattr(kernels, "path", kernels.Path(True, True, True))
    assert not kernels.on_kernels(torch.device("cpu"))


def test_nothing_is_used_that_was_not_tried():
    assert kernels.Path() == kernels.Path(int8=False, kernels=False, graphs=False)
    assert not kernels.on_kernels(torch.device("cuda"))


def test_a_shape_that_no_kernel_takes(monkeypatch):
    monkeypatch.setattr("assistant.engine.card.why_no_kernels", lambda device: None)
    cuda = torch.device("cuda")
    assert kernels.unusable_steps(cuda, 48, 128) == {}
    assert kernels.unusable_steps(cuda, 65, 64) == {
        "kernels": "no kernel takes 65 heads of 64 on 1"
    }


def test_every_step_has_one_name():
    assert list(kernels.STEPS) == [field.name for field in dataclasses.fields(kernels.Path)]
    assert str(kernels.Path(True, True, True)) == ", ".join(kernels.STEPS.values())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (kernels.Path(), "plain operations"),
        (kernels.Path(kernels=True), "kernels"),
        (kernels.Path(kernels=True, graphs=True), "kernels, graphs"),
        (kernels.Path(int8=True), "int8 kernels"),
        (kernels.Path(True, True, True), "int8 kernels, kernels, graphs"),
    ],
)
def test_a_path_as_people_read_it(path, text):
    assert str(path) == text


@needs_triton
def test_triton_is_imported_late():
    code = "import sys; from assistant.engine.model import kernels; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


@pytest.mark.parametrize(
    ("outs", "inputs", "splits"),
    [(6144, 6144, 4), (6400, 6144, 4), (6144, 24576, 4), (24576, 6144, 1), (49152, 6144, 1)]
    + [(64, 512, 1), (64, 2048, 2), (64, 10**6, 8)],
)
def test_a_weight_is_cut_into_enough_programs(outs, inputs, splits):
    assert kernels._input_splits(outs, inputs) == splits
