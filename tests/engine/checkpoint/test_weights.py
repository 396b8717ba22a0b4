"""Names, shapes and bytes against transformers; what is alive while tensors are read."""

import os
import weakref

import pytest
import torch
from safetensors import safe_open
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

from assistant.engine.checkpoint import read
from assistant.engine.checkpoint.config import read_config
from assistant.engine.checkpoint.read import read_tensors
from assistant.engine.checkpoint.shapes import bytes_needed, count_parameters, expected_shapes
from assistant.engine.checkpoint.weights import file_names, find_tensors
from assistant.engine.device import RESERVE
from assistant.engine.model import int4, int8
from assistant.errors import CheckpointError
from tests.support.checkpoints import VOCAB_SIZE, make_checkpoint
from tests.support.engines import config_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
# bigcode/starcoder's config.json
STARCODER = {"n_layer": 40, "n_embd": 6144, "n_head": 48, "n_inner": 24576}
STARCODER |= {"vocab_size": 49152, "n_positions": 8192}


def stored(folder):
    config = read_config(folder, "tiny")
    return find_tensors(sorted(folder.glob("*.safetensors")), config), config


def total_bytes(tensors):
    parts = [part for t in tensors.values() for part in (t[:2] if isinstance(t, tuple) else [t])]
    return sum(part.nbytes for part in parts)


# -- what there must be -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{}, {"tie_word_embeddings": False}, {"n_inner": 96, "n_head": 1, "n_layer": 3}]
)
def test_names_and_shapes_are_those_of_transformers(changes):
    shape = {"n_layer": 2, "n_embd": 64, "n_head": 4, "n_positions": 32, "vocab_size": 100}
    module = GPTBigCodeForCausalLM(GPTBigCodeConfig(**{**shape, **changes}))
    config = config_of(module)
    names = {name: tuple(p.shape) for name, p in module.named_parameters()}  # a tied one once
    assert {file_names(config, name)[0]: s for name, s in expected_shapes(config).items()} == {
        name.removeprefix("transformer."): shape for name, shape in names.items()
    }
    assert count_parameters(config) == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    "count, shape",
    [  # layers, width and heads of the StarCoder family, largest first
        (15_517_456_384, (40, 6144, 48)),
        (7_327_263_232, (42, 4096, 32)),
        (3_043_311_104, (36, 2816, 22)),
        (1_137_207_296, (24, 2048, 16)),
        (164_144_128, (20, 768, 12)),
    ],
)
def test_count_of_parameters(count, shape):
    layers, width, heads = shape
    config = config_of(
        GPTBigCodeConfig(
            vocab_size=49152, n_positions=8192, n_layer=layers, n_embd=width, n_head=heads
        )
    )
    assert count_parameters(config) == count


# -- bytes ------------------------------------------------------------------------------------


def test_starcoder_in_int8_fits_a_card_of_24_gb():
    config = config_of(GPTBigCodeConfig(**STARCODER))
    largest = 49152 * 6144
    biases, norms = 6144 + 256 + 6144 + 24576 + 6144, 4 * 6144
    linear = 15_517_456_384 - largest - 8192 * 6144 - 40 * (biases + norms) - 2 * 6144
    rows = 40 * biases + 49152
    dense = 15_517_456_384 - linear
    hole = 2 * 6144 * 24576  # left by dense weights that were read and made smaller
    held = linear + largest + 2 * rows + 2 * dense + hole
    kv = 8192 * 20 * 2**10  # of a slot: 20 KiB a token
    row = 140 * 49152  # 7 MB for each token that a step draws, of which there may be 16 for guesses
    head = 2 * largest  # made dense, where its kernel is left out
    needed = bytes_needed(config, 8, CUDA, torch.bfloat16, "int8")
    assert needed == held + 9 * kv + 16 * row + head
    assert bytes_needed(config, 1, CUDA, torch.bfloat16, "int8") == held + 4 * largest
    assert 16e9 < needed + RESERVE < 20e9
    dense = [bytes_needed(config, slots, CUDA, torch.bfloat16) for slots in (8, 64)]
    assert dense == [2 * 15_517_456_384 + size for size in (9 * kv + 16 * row, 65 * kv + 64 * row)]


def test_int8_on_a_cpu_stands_beside_the_dense_weights():
    config = config_of(GPTBigCodeConfig(**STARCODER))
    for dtype in (torch.float32, torch.bfloat16):
        dense, both = (bytes_needed(config, 8, CPU, dtype, kind) for kind in (None, "int8"))
        assert both - dense == count_parameters(config)
        kv = 8 * 8192 * 40 * 2 * 128
        assert dense == (count_parameters(config) + kv) * dtype.itemsize


@pytest.mark.parametrize("tied", [True, False])
def test_int4_takes_the_bytes_that_are_held_and_the_largest_tensor_as_it_is_read(tmp_path, tied):
    found, config = stored(make_checkpoint(tmp_path, tie_word_embeddings=tied))
    held = total_bytes(read_tensors(found, CPU, torch.bfloat16, "int4"))
    kv, largest = 2 * 2 * 2 * 256 * 32, 64 * VOCAB_SIZE
    assert bytes_needed(config, 0, CPU, torch.bfloat16, "int4") == held + 4 * largest
    assert bytes_needed(config, 90, CPU, torch.bfloat16, "int4") == held + 90 * kv
    beside = kv + 16 * 140 * VOCAB_SIZE + 2 * largest + 2 * 64 * 256
    assert bytes_needed(config, 0, CUDA, torch.bfloat16, "int4") == held + beside


def test_starcoder_in_int4_fits_a_card_of_16_gb():
    config = config_of(GPTBigCodeConfig(**STARCODER))
    needed = bytes_needed(config, 8, CUDA, torch.bfloat16, "int4")
    assert 12e9 < needed + RESERVE < 14e9


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["int8", None])
def test_the_bytes_needed_are_those_that_are_held(tmp_path, tied, kind):
    found, config = stored(make_checkpoint(tmp_path, tie_word_embeddings=tied))
    held = total_bytes(read_tensors(found, CPU, torch.bfloat16, kind))
    spare = 2 * 2 * 2 * 256 * 32  # a slot's keys and values of 2 layers, in bfloat16
    beside = spare + 16 * 140 * VOCAB_SIZE + bool(kind) * 2 * 64 * (VOCAB_SIZE + 256)
    assert bytes_needed(config, 0, CUDA, torch.bfloat16, kind) == held + beside


# -- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_quantised_are_the_dense_tensors(tmp_path, tied, kind):
    found, _ = stored(make_checkpoint(tmp_path, tie_word_embeddings=tied, max_shard_size="100KB"))
    dense = read_tensors(found, CPU, torch.float32)
    tensors = read_tensors(found, CPU, torch.bfloat16, kind)
    assert set(tensors) == set(dense) | {"head.weight"}
    dense.setdefault("head.weight", dense["tokens.weight"].bfloat16())
    quantised = {name for name, tensor in tensors.items() if isinstance(tensor, tuple)}
    linear = {"qkv", "out", "up", "down"}
    expected = {f"layers.{i}.{name}.weight" for i in range(2) for name in linear}
    assert quantised == expected | {"head.weight"}
    for name, tensor in tensors.items():
        if name in quantised:
            four = kind == "int4" and name != "head.weight"  # the head is int8 beside int4
            want = (int4 if four else int8).quantize(dense[name])
            assert type(tensor) is type(want)
            assert all(map(torch.equal, tensor[:2], want[:2])), name
        else:
            assert torch.equal(tensor, dense[name].bfloat16()), name


@pytest.mark.parametrize(
    "dtype, kind",
    [(torch.bfloat16, kind) for kind in ("int8", "int4", None)] + [(torch.float32, None)],
)
def test_only_one_tensor_is_held_as_the_file_has_it(tmp_path, monkeypatch, dtype, kind):
    found, config = stored(make_checkpoint(tmp_path, max_shard_size="100KB"))
    alive, most, given = weakref.WeakSet(), 0, 0

    class Watched:
        """The real reader; counts which of the tensors that it gave are still there."""

        def __init__(self, *args, **options):
            self.file = safe_open(*args, **options)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def get_tensor(self, key):
            nonlocal most, given
            tensor = self.file.get_tensor(key)
            alive.add(tensor)
            most, given = max(most, len(alive)), given + 1
            return tensor

    monkeypatch.setattr(read, "safe_open", Watched)
    tensors = read_tensors(found, CPU, dtype, kind)
    assert (most, given, len(alive)) == (1, len(expected_shapes(config)), 0)
    assert tensors


def test_tensors_do_not_depend_on_their_file_any_more(tmp_path):
    found, _ = stored(make_checkpoint(tmp_path))
    tensors = read_tensors(found, CPU, torch.float32)  # the dtype in the file
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    with open(tmp_path / "model.safetensors", "r+b") as file:
        file.seek(-(10**5), os.SEEK_END)
        file.write(b"\xff" * 10**5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors.items())
    assert all(t.is_contiguous() and not t.requires_grad for t in tensors.values())


def test_a_device_that_fails_ends_in_a_sentence(tmp_path):
    found, _ = stored(make_checkpoint(tmp_path))
    with pytest.raises(CheckpointError, match="of tiny cannot be loaded on meta .*--device cpu.$"):
        read_tensors(found, torch.device("meta"), torch.float32, name="tiny")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="of tiny cannot be .*: download them again.$"):
        read_tensors(found, CPU, torch.float32, name="tiny")


def test_memory_that_runs_out_ends_in_a_sentence(tmp_path, monkeypatch):
    found, _ = stored(make_checkpoint(tmp_path))

    def exhausted(*args, **options):
        return torch.empty(2**60)

    monkeypatch.setattr(read, "safe_open", exhausted)
    with pytest.raises(CheckpointError, match="memory on cpu ran out while tiny was"):
        read_tensors(found, CPU, torch.float32, name="tiny")
