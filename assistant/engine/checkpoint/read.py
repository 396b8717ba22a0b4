"""The weights of a model, read from where weights.py has found them.

The tensors go to their device one by one, each in its final form at once. Knows files and tensors;
which number format is device.py's to say.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
from safetensors import safe_open
from torch import Tensor

from assistant.engine.checkpoint.gguf import GgufFile
from assistant.engine.checkpoint.shapes import EMBEDDING, HEAD, LINEAR
from assistant.engine.checkpoint.weights import File, Piece, Stored, read_bin
from assistant.engine.local.failures import is_out_of_memory
from assistant.engine.model import int4, int8
from assistant.engine.model.linear import Weight
from assistant.errors import CheckpointError


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
        tensors = read_bin(file)
        yield lambda key: tensors[key].to(device)
