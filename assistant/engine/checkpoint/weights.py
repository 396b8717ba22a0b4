"""The weights of a model in its files: found by their headers, and checked against the config.

Knows files and tensors; reading the data is read.py's, which files there are find.py's to say, what
a family calls its tensors the family's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor

from assistant.engine.checkpoint.families import FAMILIES
from assistant.engine.checkpoint.gguf import GgufFile
from assistant.engine.checkpoint.shapes import EMBEDDING, HEAD, LINEAR, expected_shapes
from assistant.engine.files import broken_file, look_at, to_delete
from assistant.engine.model.config import Config
from assistant.errors import CheckpointError
from assistant.text import one_line, quoted

# Not the 8-bit kinds, which mean nothing without the scales that some quantiser put beside them.
_FLOATING = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


File = Path | GgufFile


class Stored(NamedTuple):
    """A tensor in a file. key: its name there. floating: whether its numbers are usable as such.
    added: what an adapter adds to it."""

    file: File
    key: str
    shape: tuple[int, ...]
    floating: bool
    added: "Added | None" = None


class Added(NamedTuple):
    """scale * up @ down, by a LoRA's names scale * B @ A, for a matrix [out, in]."""

    down: Stored
    up: Stored
    scale: float


class Piece(NamedTuple):
    """A tensor of the model: `stored` ones above each other. transposed: whether they are [in,
    out]."""

    stored: tuple[Stored, ...]
    shape: tuple[int, ...]
    transposed: bool = False


# -- what the files have ----------------------------------------------------------------------


def find_tensors(files: Sequence[File], config: Config) -> dict[str, Piece]:
    """Where each expected tensor is, known from the headers of `files` alone.

    What the model does not need, such as the attention masks in older files, is left out. Raises
    CheckpointError for a file that cannot be read and for tensors that do not fit the config.
    """
    family = FAMILIES[config.family]
    stored: dict[str, Stored] = {}
    for file in files:
        for item in read_header(file):
            key = item.key.removeprefix(family.names.prefix)
            if key in stored:
                raise broken_file(_path(file), f"{quoted(key)} is there twice")
            stored[key] = item
    pieces, wrong = {}, []
    for name, shape in expected_shapes(config).items():
        keys = file_names(config, name)
        if name == EMBEDDING and config.tied and keys[0] not in stored:
            keys = file_names(config, HEAD)  # files that keep the shared matrix under that name
        transposed = family.transposed and name.endswith(LINEAR)
        rows = part_rows(config, name, shape[0], len(keys))
        for key, count in zip(keys, rows, strict=True):
            part = (count, *shape[1:])
            there = stored.get(key)
            if transposed:
                part = part[::-1]
            if not there or not there.floating or there.shape != part:
                wrong.append(key)
        if not wrong:
            pieces[name] = Piece(tuple(stored[key] for key in keys), shape, transposed)
    if wrong:
        first, path = files[0], _path(files[0])
        where, its = (path, "header") if path is not first else (path.parent, "config.json")
        raise CheckpointError(
            f"The weights in {one_line(where)} do not fit its {its} ({len(wrong)} tensors "
            "are missing or have another shape or kind of number, such as "
            f"{quoted(min(wrong))}): delete {one_line(to_delete(path))} and download "
            "it again."
        )
    return pieces


def file_names(config: Config, name: str) -> tuple[str, ...]:
    """What the files of a family call the tensor `name`, or the parts of it from the first row on,
    without the prefix."""
    names = FAMILIES[config.family].names
    outer, kind = name.rsplit(".", 1)
    _, _, part = outer.rpartition(".")
    there = getattr(names, part)
    layer = names.layer.format(n=outer.split(".")[1]) if outer.startswith("layers.") else ""
    return tuple(f"{layer}{key}.{kind}" for key in ((there,) if isinstance(there, str) else there))


def renamed(config: Config, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` of a module in memory, named as in its files, by the names of shapes.py."""
    family = FAMILIES[config.family]
    there = {key.removeprefix(family.names.prefix): tensor for key, tensor in tensors.items()}
    found = {}
    for name in expected_shapes(config):
        parts = [there[key] for key in file_names(config, name)]
        if family.transposed and name.endswith(LINEAR):
            parts = [part.T.contiguous() for part in parts]
        found[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return found


def part_rows(config: Config, name: str, rows: int, parts: int) -> list[int]:
    """How many rows of the tensor `name` each of its parts in the files has."""
    if parts == 3:  # queries, keys, values
        return [config.heads * config.head_dim, *[config.kv_heads * config.head_dim] * 2]
    return [rows // parts] * parts


def read_header(file: File) -> list[Stored]:
    """The tensors in `file`. Raises CheckpointError."""
    if isinstance(file, GgufFile):
        return [Stored(file, key, shape, True) for key, (shape, _) in file.tensors.items()]
    if look_at(file) is None:
        raise CheckpointError(
            f"The checkpoint file {one_line(file)} is missing: download it again."
        )
    try:
        if file.suffix != ".safetensors":
            return [
                Stored(file, key, tuple(tensor.shape), tensor.dtype in _FLOATING.values())
                for key, tensor in read_bin(file).items()
            ]
        with safe_open(file, framework="pt") as opened:
            parts = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118, no dict
            return [
                Stored(file, key, tuple(part.get_shape()), part.get_dtype() in _FLOATING)
                for key, part in parts.items()
            ]
    except Exception as error:  # each format's reader has errors of its own
        why = f"it is cut off or not a file of weights: {type(error).__name__}"
        raise broken_file(file, why) from error


def _path(file: File) -> Path:
    return file.path if isinstance(file, GgufFile) else file


def read_bin(path: Path) -> dict[str, Tensor]:
    """A .bin file's tensors, on the CPU; the older of its two formats cannot be mapped."""
    if path.suffix != ".bin":  # which alone was asked for with --allow-bin
        raise ValueError("neither .safetensors nor .bin")
    tensors: dict[str, Tensor] = torch.load(
        path, map_location="cpu", weights_only=True, mmap=is_zipfile(path)
    )
    if not all(isinstance(name, str) for name in tensors):
        raise ValueError("names that are no text")
    return tensors
