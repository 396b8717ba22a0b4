"""--model FILE.gguf: the same model as the folder that the file was written from."""

import hashlib
import os

import pytest
import torch

from assistant.engine.checkpoint.gguf import open_gguf
from assistant.engine.checkpoint.load import load_checkpoint
from assistant.engine.checkpoint.weights import find_tensors
from assistant.engine.local.engine import LocalEngine
from assistant.errors import CheckpointError, HubError
from assistant.settings import Settings
from benchmarks.to_gguf import write_gguf
from tests.support.engines import config_of, load_module
from tests.support.gguf_files import TOKENIZER, keys_of, tensors_of, write_file
from tests.support.reading import greedy, read


def load(model, **changes):
    return load_checkpoint(Settings(model=str(model), device="cpu", dtype="float32", **changes))


@pytest.fixture
def file(tiny_checkpoint, tmp_path):
    path = tmp_path / "tiny.Q.gguf"
    write_gguf(tiny_checkpoint, path, "f32")
    return path


def test_a_file_is_what_it_was_written_from(tiny_checkpoint, file):
    expected, loaded = load(tiny_checkpoint), load(file)
    assert loaded.name == "tiny.Q.gguf" and not loaded.embedded
    assert loaded.revision == hashlib.sha256(file.read_bytes()).hexdigest()
    assert loaded.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert torch.equal(loaded.tensors[name], tensor), name
    text = "def größe(x):\n\treturn x  # <|endoftext|>\n"
    assert loaded.tokenizer.encode(text) == expected.tokenizer.encode(text)
    assert loaded.tokenizer.special == expected.tokenizer.special


@pytest.mark.parametrize("dtype", ["float32", "int8", "int4"])
def test_a_file_answers(tiny_checkpoint, file, dtype):
    def reply(model):
        engine = LocalEngine.open(Settings(model=str(model), device="cpu", dtype=dtype, slots=1))
        try:
            return read(engine.generate(greedy(engine.tokenizer.encode("def total("), 12)))[:2]
        finally:
            engine.close()

    assert reply(file) == reply(tiny_checkpoint)


def test_a_file_that_is_overwritten_leaves_the_model_as_it_was(file):
    loaded = load(file)
    before = loaded.tensors["layers.0.up.weight"].clone()
    file.write_bytes(b"\0" * file.stat().st_size)
    assert torch.equal(loaded.tensors["layers.0.up.weight"], before)


@pytest.mark.parametrize(
    "model, words",
    [
        ("none.gguf", ["none.gguf", "check the name"]),
        ("org/x:../../y.gguf", ["path there"]),
        ("org/x:/etc/y.gguf", ["path there"]),
        ("org/x:", ["path there"]),
        ("org/x:model.bin", ["path there", "model-Q8_0.gguf"]),
        ("org/x:.hidden.gguf", ["path there"]),
        ("x:model.gguf", ["x:model.gguf", "check the name"]),
    ],
)
def test_names_of_no_file(model, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load(model)
    assert all(word in str(caught.value) for word in words), caught.value


def test_another_file_is_refused_with_what_to_give(tiny_checkpoint, file):
    weights = next(tiny_checkpoint.glob("*.safetensors"))
    with pytest.raises(CheckpointError, match="only .gguf ones are read"):
        load(weights)
    assert load(file)


def test_a_file_has_no_revisions(file):
    with pytest.raises(CheckpointError, match="--revision"):
        load(file, revision="main")


def test_a_damaged_file_is_named(file):
    good = file.read_bytes()
    os.truncate(file, len(good) // 2)
    with pytest.raises(CheckpointError, match=f"{file}.* delete .* again"):
        load(file)
    file.write_bytes(good)
    assert load(file)


def test_tensors_that_do_not_fit_the_header_are_refused(tiny_checkpoint, tmp_path):
    module = load_module(tiny_checkpoint)
    tensors = tensors_of(module)
    del tensors["blk.1.ffn_up.weight"]
    keys = keys_of(module.config) | TOKENIZER | {"starcoder.feed_forward_length": 256}
    path = write_file(tmp_path / "x.gguf", "starcoder", keys, tensors)
    with pytest.raises(CheckpointError, match="do not fit its header .*c_fc"):
        find_tensors([open_gguf(path)], config_of(module))


def test_offline_a_file_of_the_hub_is_asked_for_by_its_name():
    with pytest.raises(HubError, match="model.gguf of nobody/nothing-here"):
        load("nobody/nothing-here:model.gguf")
