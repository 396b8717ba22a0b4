"""The weights of a model in its files: found, checked against the config, read.

Headers are checked before any data is read; then the tensors go to their device one by one, each in
its final form at once. Knows files and tensors; which files and which number format is load.py's
and device.py's to say, what a family calls its tensors the family's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, cast
from zipfile import is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor

from assistant.engine.checkpoint.families import FAMILIES
from assistant.engine.checkpoint.gguf import GgufFile
from assistant.engine.checkpoint.shapes import EMBEDDING, HEAD, LINEAR, expected_shapes
from assistant.engine.files import broken_file, look_at, to_delete
from assistant.engine.local.failures import is_out_of_memory
from assistant.engine.model import int4, int8
from assistant.engine.model.config import Config
from assistant.engine.model.linear import Weight
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
                for key, tensor in _read_bin(file).items()
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


def _read_bin(path: Path) -> dict[str, Tensor]:
    """A .bin file's tensors, on the CPU; the older of its two formats cannot be mapped."""
    if path.suffix != ".bin":  # which alone was asked for with --allow-bin
        raise ValueError("neither .safetensors nor .bin")
    tensors: dict[str, Tensor] = torch.load(
        path, map_location="cpu", weights_only=True, mmap=is_zipfile(path)
    )
    if not all(isinstance(name, str) for name in tensors):
        raise ValueError("names that are no text")
    return tensors


# -- reading ----------------------------------------------------------------------------------


def read_tensors(
    pieces: Mapping[str, Piece],
    device: torch.device,
    dtype: torch.dtype,
    kind: str | None = None,
    name: str = "the model",
) -> dict[str, Weight]:
    """What find_tensors found, on `device` in `dtype`, with what an adapter adds to it.

    kind: the weights of the layers' linear maps are Quantized ("int8") or Packed ("int4") instead,
    that of the head is Quantized; a tied one then has an entry of its own, beside the embedding. No
    more than one tensor is held in another form than its last. name: what people read. Raises
    CheckpointError.
    """
    try:
        return _read(pieces, device, dtype, kind)
    except Exception as error:  # whatever is wrong with files that anyone may have written
        if is_out_of_memory(error):
            raise CheckpointError(
                f"The memory on {device} ran out while {name} was loaded: close other "
                "programs or choose a smaller checkpoint with --model."
            ) from error
        otherwise = "" if device.type == "cpu" else ", or try --device cpu"
        raise CheckpointError(
            f"The weights of {name} cannot be loaded on {device} ({type(error).__name__}): "
            f"download them again{otherwise}."
        ) from error


@torch.no_grad()
def _read(
    pieces: Mapping[str, Piece], device: torch.device, dtype: torch.dtype, kind: str | None
) -> dict[str, Weight]:
    tensors: dict[str, Weight] = {}
    quantize = int4.quantize if kind == "int4" else int8.quantize
    by_files: dict[frozenset[File], list[str]] = {}
    for name, piece in pieces.items():
        by_files.setdefault(frozenset(_files(piece)), []).append(name)
    for files, names in by_files.items():
        with ExitStack() as opened:
            readers = {file: opened.enter_context(_reader(file, device)) for file in files}
            for name in names:
                # Nothing here may name the tensor as read: it would live on beside the next one.
                if kind and name == HEAD:
                    tensors[name] = int8.quantize(_joined(pieces[name], readers, device, None))
                elif kind and name.endswith(LINEAR):
                    tensors[name] = quantize(_joined(pieces[name], readers, device, None))
                else:
                    tensors[name] = _joined(pieces[name], readers, device, dtype)
    if kind and EMBEDDING in tensors and HEAD not in tensors:
        tensors[HEAD] = int8.quantize(cast(Tensor, tensors[EMBEDDING]))
    return tensors


Reader = Callable[[str], Tensor]


def _joined(
    piece: Piece, readers: Mapping[File, Reader], device: torch.device, dtype: torch.dtype | None
) -> Tensor:
    """`piece` in `dtype`; None: in the first file's own, which quantising needs no copy of, or in
    float32 where an adapter adds to it."""
    if dtype is None and any(item.added for item in piece.stored):
        dtype = torch.float32
    if len(piece.stored) == 1:
        item = piece.stored[0]
        tensor = _merged(item, piece.transposed, readers)
        if dtype is None:
            return tensor
        # Copied even in its own dtype: a mapped file may be overwritten.
        mapped = device.type == "cpu" and not item.added
        return tensor.to(dtype, copy=mapped).contiguous()
    whole, row = torch.empty(0), 0
    for item in piece.stored:
        part = _merged(item, piece.transposed, readers)
        if not row:
            whole = torch.empty(piece.shape, dtype=dtype or part.dtype, device=device)
        whole[row : row + len(part)] = part
        row += len(part)
        del part
    return whole


def _merged(item: Stored, transposed: bool, readers: Mapping[File, Reader]) -> Tensor:
    """A matrix [out, in], or whatever else is no matrix; in float32 where something is added."""
    tensor = readers[item.file](item.key)
    tensor = tensor.T if transposed else tensor
    if not item.added:
        return tensor
    down, up, scale = item.added
    factors = [readers[half.file](half.key).float() for half in (up, down)]
    return tensor.to(torch.float32, copy=True).addmm_(*factors, alpha=scale)


def _files(piece: Piece) -> Iterator[File]:
    for item in piece.stored:
        yield item.file
        if item.added:
            yield item.added.down.file


@contextmanager
def _reader(file: File, device: torch.device) -> Iterator[Reader]:
    """From a key in the file to its tensor on `device`, in the file's dtype."""
    if isinstance(file, GgufFile):
        yield lambda key: file.read(key).to(device)
    elif file.suffix == ".safetensors":
        with safe_open(file, framework="pt", device=str(device)) as opened:
            yield opened.get_tensor
    else:
        tensors = _read_bin(file)
        yield lambda key: tensors[key].to(device)
