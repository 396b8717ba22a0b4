import dataclasses
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

from assistant.engine import card
from assistant.engine.checkpoint import find, placement, weights
from assistant.engine.checkpoint import load as module
from assistant.engine.checkpoint.config import read_config
from assistant.engine.checkpoint.load import load_checkpoint
from assistant.engine.checkpoint.weights import renamed
from assistant.engine.model.config import Config
from assistant.engine.model.int4 import Packed
from assistant.engine.model.int8 import Quantized
from assistant.errors import CheckpointError
from assistant.settings import Settings
from tests.support.checkpoints import VOCAB_SIZE, make_checkpoint
from tests.support.engines import config_of

WEIGHTS = "model.safetensors"
MAPS = Path("/proc/self/maps")


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    """A copy of the tiny checkpoint that a test may damage."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "tiny")


def load(folder, **options):
    return load_checkpoint(Settings(model=str(folder), **{"device": "cpu", **options}))


def refusal(folder, **options):
    """The sentence with which `folder` is refused."""
    with pytest.raises(CheckpointError) as caught:
        load(folder, **options)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def to_bin(folder):
    """Replaces the safetensors file by a .bin file with the same tensors."""
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    return folder / "pytorch_model.bin"


# -- good ones --------------------------------------------------------------------------------


def oracle(folder, dtype="float32"):
    """What transformers loads, under the names of Checkpoint.tensors."""
    module = GPTBigCodeForCausalLM.from_pretrained(folder, dtype=dtype)
    named = {name: tensor.data for name, tensor in module.named_parameters()}
    return renamed(config_of(module), named)


def assert_same(tensors, expected):
    assert set(tensors) == set(expected)
    for name, tensor in tensors.items():
        assert tensor.dtype == expected[name].dtype and torch.equal(tensor, expected[name]), name


def test_a_folder_is_loaded_as_transformers_loads_it(tiny_checkpoint):
    loaded = load(tiny_checkpoint)
    assert (loaded.name, loaded.revision, loaded.embedded) == ("tiny", None, False)
    assert len(loaded.tokenizer) == VOCAB_SIZE
    assert isinstance(loaded.config, Config) and loaded.config.window == 256
    assert_same(loaded.tensors, oracle(tiny_checkpoint))
    assert not any(tensor.requires_grad for tensor in loaded.tensors.values())
    assert {tensor.device.type for tensor in loaded.tensors.values()} == {"cpu"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype(tiny_checkpoint, dtype):
    loaded = load(tiny_checkpoint, dtype=dtype)
    assert loaded.dtype == dtype
    assert_same(loaded.tensors, oracle(tiny_checkpoint, dtype))


@pytest.mark.parametrize("dtype", ["auto", "int8"])
def test_what_the_engine_makes_of_a_cpu_with_room(tiny_checkpoint, dtype, monkeypatch):
    with_free_memory(monkeypatch, 10**12)
    loaded = load(tiny_checkpoint, dtype=dtype)
    assert loaded.dtype == dtype
    assert_same(loaded.tensors, oracle(tiny_checkpoint))


def test_int4_on_a_cpu(tiny_checkpoint):
    loaded = load(tiny_checkpoint, dtype="int4")
    assert loaded.dtype == "int4" and loaded.tensors["tokens.weight"].dtype is torch.bfloat16
    assert isinstance(loaded.tensors["layers.0.up.weight"], Packed)
    assert isinstance(loaded.tensors["head.weight"], Quantized)


def test_shards_are_loaded(tiny_checkpoint, tmp_path):
    sharded = make_checkpoint(tmp_path / "sharded", max_shard_size="100KB")
    assert len(list(sharded.glob("*.safetensors"))) > 3 and not (sharded / WEIGHTS).exists()
    assert_same(load(sharded).tensors, oracle(tiny_checkpoint))


def test_what_a_config_leaves_out_is_as_in_transformers(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt_bigcode", "hidden_size": 96}')
    config, oracle = read_config(tmp_path, "x"), GPTBigCodeConfig(n_embd=96)
    assert config == config_of(oracle)


def test_config_of_an_older_version(folder):
    old = {"inference_runner": 0, "pad_key_length": True, "pre_allocate_kv_cache": False}
    edit_json(folder / "config.json", **old, validate_runner_input=True, torch_dtype="float16")
    assert load(folder).tensors["tokens.weight"].dtype == torch.float32


def test_a_checkpoint_with_further_tokens_and_its_own_output_layer(tmp_path):
    folder = make_checkpoint(tmp_path, vocab_size=VOCAB_SIZE + 4, tie_word_embeddings=False)
    tensors = load(folder).tensors
    assert not torch.equal(tensors["head.weight"], tensors["tokens.weight"])
    assert_same(tensors, oracle(folder))


def test_names_without_their_prefix(folder, tiny_checkpoint):
    def change(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)

    edit_weights(folder / WEIGHTS, change)
    assert_same(load(folder).tensors, oracle(tiny_checkpoint))


def test_a_tensor_with_and_without_its_prefix_is_refused(folder):
    good = (folder / WEIGHTS).read_bytes()
    twice = {"wpe.weight": torch.zeros(256, 64)}
    edit_weights(folder / WEIGHTS, lambda tensors: tensors.update(twice))
    assert "'wpe.weight' is there twice" in refusal(folder)
    (folder / WEIGHTS).write_bytes(good)
    assert load(folder)


def test_a_tied_head_that_is_stored_is_left_out(folder, tiny_checkpoint):
    head = {"lm_head.weight": torch.zeros(VOCAB_SIZE, 64)}
    edit_weights(folder / WEIGHTS, lambda tensors: tensors.update(head))
    assert_same(load(folder).tensors, oracle(tiny_checkpoint))


def test_a_shared_matrix_that_is_stored_as_the_head(folder, tiny_checkpoint):
    def change(tensors):
        tensors["lm_head.weight"] = tensors.pop("transformer.wte.weight")

    edit_weights(folder / WEIGHTS, change)
    expected = oracle(tiny_checkpoint)
    assert_same(load(folder).tensors, expected)
    module = GPTBigCodeForCausalLM.from_pretrained(folder)
    assert torch.equal(module.transformer.wte.weight, expected["tokens.weight"])


def test_the_embedded_checkpoint_is_the_one_in_models(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(find, "MODELS", tmp_path)
    assert str(tmp_path) in refusal("embedded")
    shutil.copytree(tiny_checkpoint, tmp_path / "tech-assistant")
    loaded = load("embedded")
    assert loaded.name == "tech-assistant" and loaded.embedded
    shutil.copytree(tiny_checkpoint, tmp_path / "another")
    assert "holds 2" in refusal("embedded")


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        "no/such/folder",
        "./nothing",
        "/nothing",
        "~/nothing",
        "~nobody-here/x",
        "x",
        "x" * 300,
        "/" + "x" * 300,
        "a/b/" + "x" * 5000,
    ],
)
def test_neither_folder_nor_hub_id(model):
    assert "neither a folder nor a hub id" in refusal(model)


def test_a_folder_has_no_revisions(tiny_checkpoint):
    assert "--revision" in refusal(tiny_checkpoint, revision="main")


def test_a_folder_without_checkpoint(tmp_path):
    assert "no config.json" in refusal(tmp_path)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model_type": "mixtral"}, ["'mixtral'", "starcoder2, llama", "--endpoint"]),
        ({"model_type": "llama"}, ["config.json", "missing"]),
        ({"model_type": "\x1b[31m" * 99}, ["--endpoint"]),
        ({"model_type": None}, ["--endpoint"]),
        ({"multi_query": False}, ["multi-query"]),
        ({"activation_function": "relu"}, ["'relu'", "gelu_pytorch_tanh"]),
        ({"quantization_config": {"quant_method": "gptq"}}, ["quantised"]),
        ({"n_layer": "two"}, ["config.json"]),
        ({"n_layer": 0}, ["config.json"]),
        ({"n_head": 3}, ["config.json"]),
        ({"n_embd": -64}, ["config.json", "n_embd is -64"]),
        ({"hidden_size": 0}, ["config.json", "n_embd is 64, and hidden_size is 0"]),
        ({"n_inner": False}, ["config.json", "n_inner is False"]),
        ({"multi_query": 1}, ["config.json", "multi_query is 1"]),
        ({"layer_norm_epsilon": "1\x1b"}, ["config.json", "layer_norm_epsilon"]),
        ({"n_layer": 1000, "n_inner": 10**9}, ["GB are free"]),
        ({"n_layer": 1001}, ["n_layer is 1001, and may be at most 1000"]),
        ({"vocab_size": VOCAB_SIZE - 1}, [str(VOCAB_SIZE), str(VOCAB_SIZE - 1)]),
        ({"n_embd": 128}, ["config.json", "shape"]),
        ({"n_layer": 3}, ["config.json", "missing"]),
        ({"vocab_size": VOCAB_SIZE + 1}, ["config.json", "shape"]),
    ],
)
def test_configurations_that_cannot_be_served(folder, changes, words):
    good = (folder / "config.json").read_text()
    edit_json(folder / "config.json", **changes)
    sentence = refusal(folder)
    assert all(word in sentence for word in words), sentence
    assert "\x1b" not in sentence
    (folder / "config.json").write_text(good)
    assert load(folder)


def test_code_in_a_checkpoint_is_not_run(folder):
    marker = folder / "marker"
    (folder / "code.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: ...\n")
    edit_json(
        folder / "config.json", auto_map={"AutoConfig": "code.Config"}, fusion_config={"a": 1}
    )
    edit_json(folder / "config.json", _attn_implementation="someone/kernel", use_kernels=True)
    assert load(folder)
    assert not marker.exists()


def test_missing_tensor(folder):
    edit_weights(
        folder / WEIGHTS, lambda tensors: tensors.pop("transformer.h.1.attn.c_attn.weight")
    )
    sentence = refusal(folder)
    assert "1 tensors are missing" in sentence and "h.1.attn.c_attn.weight" in sentence


@pytest.mark.parametrize(
    "convert", [lambda t: t.to(torch.int8), lambda t: t.to(torch.float8_e4m3fn), lambda t: t > 0]
)
@pytest.mark.parametrize("bin_file", [False, True])
def test_numbers_of_another_kind(folder, convert, bin_file):
    def change(tensors):
        name = "transformer.h.0.mlp.c_fc.weight"
        tensors[name] = convert(tensors[name])

    edit_weights(folder / WEIGHTS, change)
    if bin_file:
        to_bin(folder)
    sentence = refusal(folder, allow_bin=True)
    assert "1 tensors" in sentence and "kind of number" in sentence and "h.0.mlp" in sentence


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:4],
        lambda data: b"",
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data[:8] + b"}" + data[9:],
        lambda data: b"version https://git-lfs.github.com/spec/v1\n",
        lambda data: b"<html>Service unavailable</html>" * 9,
    ],
)
def test_broken_safetensors(folder, damage):
    path = folder / WEIGHTS
    good = path.read_bytes()
    path.write_bytes(damage(good))
    sentence = refusal(folder)
    assert str(path) in sentence and "delete" in sentence and "again" in sentence
    path.write_bytes(good)
    assert load(folder)


def test_a_damaged_file_in_a_cache_is_named_behind_its_link(folder, tmp_path):
    blob, snapshot = tmp_path / "m" / "blobs" / "abc", tmp_path / "m" / "snapshots" / "1"
    blob.parent.mkdir(parents=True), snapshot.parent.mkdir()
    folder.rename(snapshot)
    (snapshot / WEIGHTS).rename(blob)
    (snapshot / WEIGHTS).symlink_to(blob)
    assert load(snapshot)
    os.truncate(blob, 1000)
    assert f"delete {blob} " in refusal(snapshot)
    config = snapshot / "config.json"
    config.unlink()
    config.symlink_to(blob.with_name("gone"))
    assert f"delete {config} " in refusal(snapshot)  # not what is gone


def test_missing_and_broken_shards(tmp_path):
    folder = make_checkpoint(tmp_path, max_shard_size="100KB")
    shard = sorted(folder.glob("*.safetensors"))[1]
    good = shard.read_bytes()
    shard.unlink()
    assert f"{shard} is missing" in refusal(folder)
    shard.write_bytes(good[:-1])
    assert str(shard) in refusal(folder)
    shard.write_bytes(good)
    assert load(folder)


@pytest.mark.parametrize(
    "index",
    ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": 3}', '{"weight_map": {"a": 3}}'],
)
def test_broken_index(folder, index):
    (folder / WEIGHTS).unlink()
    path = folder / f"{WEIGHTS}.index.json"
    path.write_text(index)
    assert str(path) in refusal(folder)


def test_an_index_does_not_lead_out_of_the_folder(folder):
    (folder / WEIGHTS).rename(folder.parent / WEIGHTS)
    path = folder / f"{WEIGHTS}.index.json"
    path.write_text(json.dumps({"weight_map": {"transformer.wte.weight": f"../{WEIGHTS}"}}))
    assert str(path) in refusal(folder)


# -- .bin files -------------------------------------------------------------------------------


def test_bin_weights_only_with_the_flag(folder, tiny_checkpoint):
    to_bin(folder)
    assert "--allow-bin" in refusal(folder)
    assert_same(load(folder, allow_bin=True).tensors, oracle(tiny_checkpoint))


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_bin_files_are_copied(folder, tiny_checkpoint, zipped):
    path = to_bin(folder)
    tensors = torch.load(path, weights_only=True)
    tensors["transformer.wpe.weight"] = torch.nn.Parameter(tensors["transformer.wpe.weight"])
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"]  # as .bin files have it
    transposed = tensors["transformer.h.0.mlp.c_fc.weight"].T.contiguous().T
    tensors["transformer.h.0.mlp.c_fc.weight"] = transposed
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    loaded = load(folder, allow_bin=True).tensors
    path.write_bytes(b"overwritten" * 10**5)
    assert_same(loaded, oracle(tiny_checkpoint))
    assert not any(tensor.requires_grad for tensor in loaded.values())
    assert all(tensor.is_contiguous() for tensor in loaded.values())


@pytest.mark.skipif(not MAPS.exists(), reason="what is mapped is asked of Linux")
def test_a_bin_file_is_mapped_not_copied_into_memory(folder):
    path = to_bin(folder)
    tensors = weights.read_bin(path)
    assert tensors and str(path) in MAPS.read_text()


@pytest.mark.parametrize("content", [[], 3, {"x": 3}, {3: torch.ones(2)}, {"x": {}}])
def test_bin_files_that_hold_something_else(folder, content):
    path = to_bin(folder)
    torch.save(content, path)
    assert str(path) in refusal(folder, allow_bin=True)


def test_only_what_is_named_so_is_read_as_a_bin_file(folder):
    path = to_bin(folder)
    assert weights.read_header(path)
    with pytest.raises(CheckpointError, match="not a file of weights"):
        weights.read_header(path.rename(folder / "model.xsafetensors"))


def test_a_bin_file_that_is_cut_off(folder):
    path = to_bin(folder)
    os.truncate(path, path.stat().st_size // 2)
    assert str(path) in refusal(folder, allow_bin=True)


def test_safetensors_come_first(folder):
    shutil.copy(folder / WEIGHTS, folder.parent)
    to_bin(folder).write_bytes(b"never read")
    shutil.move(folder.parent / WEIGHTS, folder)
    assert load(folder, allow_bin=True)


def test_no_weights_at_all(folder):
    (folder / WEIGHTS).unlink()
    assert "neither safetensors nor .bin" in refusal(folder, allow_bin=True)


class Payload:
    """Unpickled by a careless reader, this makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_pickle_is_not_executed(folder):
    marker = folder / "marker"
    path = to_bin(folder)
    tensors = torch.load(path, weights_only=True)
    careless = pickle.dumps(Payload(marker))
    pickle.loads(careless)
    assert marker.exists()  # the payload would work
    marker.rmdir()
    for write in (
        lambda: torch.save({**tensors, "x": Payload(marker)}, path),
        lambda: torch.save({"x": Payload(marker)}, path, _use_new_zipfile_serialization=False),
        lambda: path.write_bytes(careless),
        lambda: path.write_bytes(b"\x80"),
    ):
        write()
        assert str(path) in refusal(folder, allow_bin=True)
        assert not marker.exists()
    torch.save(tensors, path)
    assert load(folder, allow_bin=True)


# -- memory and devices -----------------------------------------------------------------------


def with_free_memory(monkeypatch, free):
    memory = psutil.virtual_memory()._replace(available=free)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


def test_too_little_memory_is_found_before_weights_are_read(folder, monkeypatch):
    (folder / WEIGHTS).write_bytes(b"")
    (folder / "tokenizer.json").unlink()
    with_free_memory(monkeypatch, 10**8)
    sentence = refusal(folder, dtype="float32")
    assert "needs 0.3 GB" in sentence and "0.1 GB are free" in sentence
    assert "0.2 GB too few: give a smaller checkpoint with --model." in sentence


def test_the_kv_cache_of_all_slots_counts(tiny_checkpoint, monkeypatch):
    with_free_memory(monkeypatch, 300 * 2**20)
    assert load(tiny_checkpoint, slots=8)
    sentence = refusal(tiny_checkpoint, slots=10**6)
    slots = int(re.search(r"give --slots (\d+) or", sentence)[1])
    assert load(tiny_checkpoint, slots=slots, dtype="bfloat16")
    assert refusal(tiny_checkpoint, slots=slots + 1, dtype="bfloat16")


def test_auto_takes_no_more_than_half_of_the_memory(tiny_checkpoint, monkeypatch):
    with_free_memory(monkeypatch, 300 * 2**20)
    loaded = load(tiny_checkpoint)
    assert loaded.dtype == "bfloat16"
    assert_same(loaded.tensors, oracle(tiny_checkpoint, "bfloat16"))


def test_a_device_that_does_not_exist(tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(card, "inspect_machine", lambda: card.Machine("2.13.0"))
    assert "torch sees 0 CUDA devices" in refusal(tiny_checkpoint, device="cuda:0")


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_the_numbers_are_those_of_the_card(tiny_checkpoint, monkeypatch, capability, dtype):
    read = []
    here = card.Card("a card", capability)
    monkeypatch.setattr(card, "inspect_machine", lambda: card.Machine("2.13.0", cards=(here,)))
    monkeypatch.setattr(card, "at", lambda device: here)
    monkeypatch.setattr(placement, "free_bytes", lambda device: 10**10)
    monkeypatch.setattr(module, "read_tensors", lambda *given, name: read.append(given[1:]) or {})
    assert load(tiny_checkpoint, device="auto").dtype == str(dtype).removeprefix("torch.")
    assert load(tiny_checkpoint, device="cuda", dtype="int8").dtype == "int8"
    cuda = torch.device("cuda")
    expected = [(cuda, dtype, None), (cuda, dtype, "int8")]
    if dtype is torch.bfloat16:
        assert load(tiny_checkpoint, device="cuda", dtype="int4").dtype == "int4"
        expected.append((cuda, dtype, "int4"))
    assert read == expected


def test_auto_device(tiny_checkpoint):
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    tensors = load(tiny_checkpoint, device="auto").tensors
    assert tensors["tokens.weight"].device.type == expected


# -- the console ------------------------------------------------------------------------------


def test_nothing_is_printed_by_a_good_start_in_a_fresh_process(folder):
    """Nor by tensors that the model does not need: early versions hold attention masks."""
    extra = {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool),
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
    }
    edit_weights(folder / WEIGHTS, lambda tensors: tensors.update(extra))
    code = (
        "import sys; from assistant.engine.checkpoint.load import load_checkpoint;"
        "from assistant.settings import Settings; load_checkpoint(Settings(model=sys.argv[1]));"
        "assert not {'accelerate', 'transformers.modeling_utils'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},  # of a card this torch may not use, it says
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_checkpoint_is_a_value(tiny_checkpoint):
    with pytest.raises(dataclasses.FrozenInstanceError):
        load(tiny_checkpoint).name = "other"
