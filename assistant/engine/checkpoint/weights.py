"""The weights of a gpt_bigcode model: their names and shapes, the memory they take, reading them.

The files' headers are checked against the config before any data is read; then the tensors go to
their device one by one, each in its final form at once. Knows files and tensors; which files and
which number format is load.py's and device.py's to say.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import NamedTuple, cast
from zipfile import is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor

from assistant.engine.files import broken_file, look_at, to_delete
from assistant.engine.local.drafts import DRAFT_ROWS
from assistant.engine.local.failures import is_out_of_memory
from assistant.engine.model.config import Config
from assistant.engine.model.int8 import Quantized, quantize, quantized_bytes
from assistant.errors import CheckpointError
from assistant.text import quoted

EMBEDDING, HEAD = "wte.weight", "lm_head.weight"
_PREFIX = "transformer."
LINEAR = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
# Not the 8-bit kinds, which mean nothing without the scales that some quantiser put beside them.
_FLOATING = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_WIDEST = torch.float32.itemsize  # what files hold at most: StarCoder's own are float32
# Bytes on a card for each row of the largest step and each token of the vocabulary while tokens are
# drawn: the tensors of sampler.py and the logits take 87 at their peak, sorting values, ids and
# order with a second copy of each 32, and the logits that each smaller captured step keeps 12
# (test_capture.py counts them). The rest is for an allocator that finds no fitting block.
_DRAWING = 140


Shapes = dict[str, tuple[int, ...]]  # of tensors, by their names


class Stored(NamedTuple):
    """A tensor in a file. key: its name there. floating: whether its numbers are usable as such."""

    path: Path
    key: str
    shape: tuple[int, ...]
    floating: bool


# -- what there must be -----------------------------------------------------------------------


def _layer_shapes(config: Config) -> Shapes:
    """Those of one layer; weights are [out, in]."""
    width, inner = config.n_embd, config.n_inner or 4 * config.n_embd
    linear = {
        "attn.c_attn": (width + 2 * width // config.n_head, width),  # all queries, one key, value
        "attn.c_proj": (width, width),
        "mlp.c_fc": (inner, width),
        "mlp.c_proj": (width, inner),
    }
    shapes: Shapes = {f"{name}.weight": shape for name, shape in linear.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linear.items()}
    norms = ("ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias")
    return shapes | dict.fromkeys(norms, (width,))


def _outer_shapes(config: Config) -> Shapes:
    """Those outside of the layers; a tied head is none of its own."""
    width, head = config.n_embd, (config.vocab_size, config.n_embd)
    shapes: Shapes = {EMBEDDING: head, "wpe.weight": (config.n_positions, width)}
    shapes |= {"ln_f.weight": (width,), "ln_f.bias": (width,)}
    return shapes if config.tie_word_embeddings else shapes | {HEAD: head}


def expected_shapes(config: Config) -> Shapes:
    """Those of every tensor of the model, without a leading "transformer."."""
    shapes = _outer_shapes(config)
    for i in range(config.n_layer):
        shapes |= {f"h.{i}.{name}": shape for name, shape in _layer_shapes(config).items()}
    return shapes


def count_parameters(config: Config) -> int:
    """How many numbers the weights hold; a tied head counts once."""
    layer = sum(map(prod, _layer_shapes(config).values()))
    return config.n_layer * layer + sum(map(prod, _outer_shapes(config).values()))


def count_kv(config: Config) -> int:
    """How many numbers the keys and values of one full window hold."""
    return 2 * config.n_positions * config.n_layer * config.n_embd // config.n_head


def bytes_needed(
    config: Config, slots: int, device: torch.device, dtype: torch.dtype, int8: bool = False
) -> int:
    """The most bytes held on `device` at once: the weights and what replies take beside them, or,
    while weights are still read, the largest tensor as the file has it.

    dtype: of whatever is not int8. int8: on a CPU, int8 weights beside the dense ones; elsewhere
    in their place. What is read to a CPU is the file's own pages, which take no memory.

    Replies take the KV cache of all `slots`. On a card that has a slot more (cache.py), the largest
    step draws as many tokens as it has rows, and for many rows a weight in int8 is made dense.
    """
    weights, kv = count_parameters(config), count_kv(config) * dtype.itemsize
    if device.type == "cpu":
        return weights * (dtype.itemsize + int8) + slots * kv
    replies = (slots + 1) * kv + max(slots, DRAFT_ROWS) * config.vocab_size * _DRAWING
    layer, outer = _layer_shapes(config), _outer_shapes(config)
    held = weights * dtype.itemsize
    if int8:
        linear = [layer[name] for name in LINEAR]
        head = outer[EMBEDDING]  # the head's shape, tied or not
        dense = config.n_layer * sum(map(prod, linear)) + prod(outer.get(HEAD, (0,)))
        held -= dense * dtype.itemsize
        held += config.n_layer * sum(map(quantized_bytes, linear)) + quantized_bytes(head)
        replies += max(map(prod, [*linear, head])) * dtype.itemsize
        # What was read dense and given back leaves holes that int8 weights fill in part: an H200
        # held 0.3 GB more than the tensors.
        held += max(map(prod, linear)) * dtype.itemsize
    return held + max(replies, _WIDEST * max(map(prod, [*layer.values(), *outer.values()])))


# -- what the files have ----------------------------------------------------------------------


def find_tensors(files: Sequence[Path], config: Config) -> dict[str, Stored]:
    """Where each expected tensor is, known from the headers of `files` alone.

    What the model does not need, such as the attention masks in older files, is left out. Raises
    CheckpointError for a file that cannot be read and for tensors that do not fit the config.
    """
    stored: dict[str, Stored] = {}
    for path in files:
        if look_at(path) is None:
            raise CheckpointError(f"The checkpoint file {path} is missing: download it again.")
        try:
            stored |= {item.key.removeprefix(_PREFIX): item for item in _header(path)}
        except Exception as error:  # each format's reader has errors of its own
            raise broken_file(
                path, f"it is cut off or not a file of weights: {type(error).__name__}"
            ) from error
    if config.tie_word_embeddings and EMBEDDING not in stored and HEAD in stored:
        stored[EMBEDDING] = stored[HEAD]  # files that keep the shared matrix under its other name
    expected = expected_shapes(config)
    wrong = [
        name
        for name, shape in expected.items()
        if name not in stored or stored[name].shape != shape or not stored[name].floating
    ]
    if wrong:
        raise CheckpointError(
            f"The weights in {files[0].parent} do not fit its config.json ({len(wrong)} tensors "
            "are missing or have another shape or kind of number, such as "
            f"{quoted(min(wrong))}): delete {to_delete(files[0])} and download it again."
        )
    return {name: stored[name] for name in expected}


def _header(path: Path) -> list[Stored]:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            parts = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118, no dict
            return [
                Stored(path, key, tuple(part.get_shape()), part.get_dtype() in _FLOATING)
                for key, part in parts.items()
            ]
    return [
        Stored(path, key, tuple(tensor.shape), tensor.dtype in _FLOATING.values())
        for key, tensor in _read_bin(path).items()
    ]


def _read_bin(path: Path) -> dict[str, Tensor]:
    """A .bin file's tensors, on the CPU; the older of its two formats cannot be mapped."""
    tensors: dict[str, Tensor] = torch.load(
        path, map_location="cpu", weights_only=True, mmap=is_zipfile(path)
    )
    return tensors


# -- reading ----------------------------------------------------------------------------------


def read_tensors(
    stored: Mapping[str, Stored], device: torch.device, dtype: torch.dtype, int8: bool = False
) -> dict[str, Tensor | Quantized]:
    """What find_tensors found, on `device` in `dtype`.

    int8: the weights of the layers' linear maps and of the head are a Quantized instead; a tied
    head then has an entry of its own, beside the embedding. No more than one tensor is held in
    another form than its last. Raises CheckpointError.
    """
    folder = next(iter(stored.values())).path.parent
    try:
        return _read(stored, device, dtype, int8)
    except Exception as error:  # whatever is wrong with files that anyone may have written
        if is_out_of_memory(error):
            raise CheckpointError(
                f"The memory on {device} ran out while {folder.name} was loaded: close other "
                "programs or choose a smaller checkpoint with --model."
            ) from error
        raise CheckpointError(
            f"The weights in {folder} cannot be loaded on {device} ({type(error).__name__}): "
            "download them again, or try --device cpu."
        ) from error


@torch.no_grad()
def _read(
    stored: Mapping[str, Stored], device: torch.device, dtype: torch.dtype, int8: bool
) -> dict[str, Tensor | Quantized]:
    tensors: dict[str, Tensor | Quantized] = {}
    mapped = device.type == "cpu"  # copied even in its own dtype: the file may be overwritten
    for path in sorted({item.path for item in stored.values()}):
        with _reader(path, device) as read:
            keys = {name: item.key for name, item in stored.items() if item.path == path}
            for name, key in keys.items():
                # Nothing here may name the tensor as read: it would live on beside the next one.
                if int8 and (name == HEAD or name.endswith(LINEAR)):
                    tensors[name] = quantize(read(key))
                else:
                    tensors[name] = read(key).to(dtype, copy=mapped).contiguous()
    if int8 and HEAD not in tensors:
        tensors[HEAD] = quantize(cast(Tensor, tensors[EMBEDDING]))
    return tensors


@contextmanager
def _reader(path: Path, device: torch.device) -> Iterator[Callable[[str], Tensor]]:
    """From a key in the file to its tensor on `device`, in the file's dtype."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt", device=str(device)) as file:
            yield file.get_tensor
    else:
        tensors = _read_bin(path)
        yield lambda key: tensors[key].to(device)
