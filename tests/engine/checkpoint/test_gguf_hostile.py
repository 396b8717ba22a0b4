"""GGUF files that are damaged, or made to harm whoever loads them: each is one sentence."""

import os
import struct
import subprocess
import sys
import tracemalloc

import gguf
import numpy as np
import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from assistant.engine.checkpoint import gguf_header
from assistant.engine.checkpoint.gguf import open_gguf
from assistant.errors import CheckpointError
from assistant.paths import ROOT
from tests.engine.checkpoint.test_gguf import NEW, OLD, refusal
from tests.support.gguf_files import keys_of, tensors_of, write_file
from tests.support.gguf_mutations import read

MOST = 50 << 20  # bytes beyond the intact file
SIZES = {"llama": NEW, "gpt_bigcode": OLD}


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Family to a small file. Its first tensor has a constant that shows where the data begins."""
    paths = {}
    for family, sizes in SIZES.items():
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes))
        first = np.full((48, 64), 0x2A2A2A2A, np.uint32).view(np.float32)
        tensors = {"token_embd.weight": (first, gguf.GGMLQuantizationType.F32)}
        tensors |= tensors_of(model, "Q8_0") | tensors
        name = {"gpt_bigcode": "starcoder"}.get(family, family)
        path = tmp_path_factory.mktemp(family) / "intact.gguf"
        paths[family] = write_file(path, name, keys_of(model.config), tensors)
    return paths


@pytest.mark.parametrize("family", SIZES)
def test_damaged_files_end_in_a_sentence_or_are_read(intact, family):
    """300 of each, in a process of its own, whose largest size is its own, too."""
    command = [sys.executable, "-m", "tests.support.gguf_mutations", str(intact[family]), "300"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    refused, whole, more = map(int, done.stdout.split())
    assert refused + whole == 300 and refused > 150 and whole > 5
    assert more < MOST


@pytest.mark.parametrize("value", ["four", -4, 0, 1 << 31, float("nan"), [4, 4], True, 4.0])
@pytest.mark.parametrize(
    "key",
    ["block_count", "context_length", "embedding_length", "feed_forward_length", "rope.freq_base",
     "attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon",
     "attention.key_length", "rope.dimension_count", "rope.scaling.factor", "rope.scaling.type"],
)  # fmt: skip
def test_keys_of_another_type_or_size(intact, tmp_path, key, value):
    config = AutoConfig.for_model("llama", **NEW)
    tensors = tensors_of(AutoModelForCausalLM.from_config(config))
    keys = keys_of(config) | {f"llama.{key}": value}
    path = write_file(tmp_path / "a.gguf", "llama", keys, tensors)
    if not read(path):
        assert key in refusal(path) or "rows for" in refusal(path) or "layer" in refusal(path)
    assert read(intact["llama"])


# -- headers of a few bytes -------------------------------------------------------------------


def text(value):
    return struct.pack("<Q", len(value)) + value


def header(*keys, tensors=b"", count=0, version=3, number=None):
    """keys: (name, kind, packed value); number: how many it says there are."""
    packed = b"".join(text(name) + struct.pack("<I", kind) + value for name, kind, value in keys)
    number = len(keys) if number is None else number
    return b"GGUF" + struct.pack("<IQQ", version, count, number) + packed + tensors


def array(kind, count, items=b""):
    return struct.pack("<IQ", kind, count) + items


def tensor(name=b"a", dims=(32,), kind=0, start=0):
    sizes = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
    return text(name) + sizes + struct.pack("<IQ", kind, start)


BIG, TEXT, ARRAY = 1 << 60, 8, 9
BOMBS = {
    "an empty file": (b"", "cut off"),
    "another format": (b"PK\x03\x04" + bytes(99), "not a GGUF file"),
    "its first bytes alone": (b"GGUF", "cut off"),
    "version 1": (header(version=1), "version 1"),
    "version 4": (header(version=4), "version 4"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 1, 1), "big-endian"),
    "keys without end": (header(number=10**9), "1,000,000,000 keys"),
    "more keys than bytes": (header(number=4_000), "cut off"),
    "tensors without end": (header(count=BIG), "tensors"),
    "more tensors than bytes": (header(count=16_000), "cut off"),
    "a long name": (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 30), "bytes in a text"),
    "a long text": (header((b"a", TEXT, struct.pack("<Q", BIG))), "bytes in a text"),
    "an array of 2^60": (header((b"a", ARRAY, array(4, BIG))), "items"),
    "an array of 2^60 texts": (header((b"a", ARRAY, array(TEXT, BIG))), "items"),
    "an array that is cut off": (header((b"a", ARRAY, array(4, 1 << 21))), "cut off"),
    "texts that are cut off": (header((b"a", ARRAY, array(TEXT, 1 << 21))), "cut off"),
    "arrays in arrays": (header((b"a", ARRAY, array(ARRAY, 3, array(4, 3)))), "kind 9"),
    "arrays of nothing known": (header((b"a", ARRAY, array(99, 3))), "kind 99"),
    "a value of nothing known": (header((b"a", 13, bytes(99))), "kind 13"),
    "a key twice": (header((b"a", 0, b"1"), (b"a", 0, b"1")), "'a' twice"),
    "no UTF-8": (header((b"\xff\xfe", 0, b"1")), "not UTF-8"),
    "a tensor twice": (header(tensors=tensor() + tensor(start=128), count=2), "'a' twice"),
    "a long tensor's name": (header(tensors=tensor(b"a" * 300), count=1), "bytes in a text"),
    "five dimensions": (header(tensors=tensor(dims=(1,) * 5), count=1), "5 dimensions"),
    "no dimension": (header(tensors=tensor(dims=()), count=1), "size"),
    "a dimension of 0": (header(tensors=tensor(dims=(4, 0)), count=1), "size"),
    "dimensions that overflow": (header(tensors=tensor(dims=(32, BIG, BIG, BIG)), count=1), "ends"),
    "a product of 2^64": (
        header(tensors=tensor(dims=(1 << 16,) + (1 << 16,) * 3), count=1),
        "ends",
    ),
    "a long row": (header(tensors=tensor(dims=(BIG,)), count=1), "size"),
    "half a block": (header(tensors=tensor(dims=(33,), kind=8), count=1), "size"),
    "an unknown kind": (header(tensors=tensor(kind=1_000), count=1), "kind 1000"),
    "far away": (header(tensors=tensor(start=BIG), count=1) + bytes(256), "ends"),
    "out of line": (header(tensors=tensor(start=4), count=1) + bytes(256), "place"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(intact, tmp_path, name):
    data, word = BOMBS[name]
    (tmp_path / "a.gguf").write_bytes(data)
    tracemalloc.start()
    try:
        assert word in refusal(tmp_path / "a.gguf")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert read(intact["llama"])


def test_a_header_of_any_size_is_bounded(tmp_path, monkeypatch):
    """A file may be large enough for all that it says, and still it is not followed."""
    most = 1 << 16
    monkeypatch.setattr(gguf_header, "HEADER_MAX", most)
    keys = [(b"a%d" % n, TEXT, text(b"x" * 1_000)) for n in range(4_000)]
    (tmp_path / "a.gguf").write_bytes(header(*keys))
    tracemalloc.start()
    try:
        assert f"{most:,} bytes" in refusal(tmp_path / "a.gguf")
        assert tracemalloc.get_traced_memory()[1] < 4 * most + (1 << 19)
    finally:
        tracemalloc.stop()


def test_all_arrays_share_one_bound(tmp_path):
    bytes_ = array(0, 3 << 19, bytes(3 << 19))
    data = header((b"a", ARRAY, bytes_), (b"b", ARRAY, bytes_))
    (tmp_path / "a.gguf").write_bytes(data)
    assert "items" in refusal(tmp_path / "a.gguf")


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.mkdir(), lambda path: path.symlink_to("/dev/zero"),
     lambda path: path.symlink_to(path), lambda path: path.symlink_to("nothing")],
    ids=["a pipe", "a folder", "a device", "a loop", "a link to nothing"],
)  # fmt: skip
def test_what_is_no_file_is_not_opened(tmp_path, make):
    make(tmp_path / "a.gguf")
    refusal(tmp_path / "a.gguf")


def test_a_file_that_may_not_be_read(tmp_path, intact, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.open", refuse)
        with pytest.raises(CheckpointError, match="Permission denied"):
            open_gguf(intact["llama"])
    assert read(intact["llama"])
