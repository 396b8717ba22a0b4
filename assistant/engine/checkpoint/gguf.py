"""A model in one GGUF file: its config, tensors and tokenizer under transformers' names.

The gguf package knows how each kind of tensor is packed; it is loaded with the first file. Which
tensors a model needs, and of which shapes, is not known here.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from assistant.engine.checkpoint.families.fields import NotSupported
from assistant.engine.checkpoint.gguf_config import ROPE_FACTORS, read_config
from assistant.engine.checkpoint.gguf_header import Part, read_header, told
from assistant.engine.checkpoint.gguf_names import find_architecture, name_tensor, split_name
from assistant.engine.files import broken_file, look_at
from assistant.errors import CheckpointError
from assistant.text import one_line, quoted

_PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_STEP = 1 << 18  # numbers that are read at once, in whole rows: what fits a processor's cache
FACTORS_MAX = 1_024  # numbers in ROPE_FACTORS: half of those of a head
_INTERLEAVED = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
_TOKENIZER = "tokenizer.ggml."
_NORMAL = 1  # gguf.TokenType of most tokens
# Of the pre-tokenizers, those with which llama.cpp begins a text with BOS though no key says so
_BEGINS = ("llama3", "llama-v3", "llama-bpe")


@dataclass(frozen=True, slots=True)
class GgufTokenizer:
    """What the file says of its tokenizer, as it stands there: lengths and kinds of value are
    checked, nothing is made of them. Each token's text, score (SentencePiece's alone) and type
    (gguf.TokenType) stand at its id; a merge is two of them with a blank between.
    """

    model: str  # "gpt2" is byte-level BPE, "llama" SentencePiece's
    pre: str  # llama.cpp's name of the pre-tokenizer; empty where the file has none
    tokens: list[str]
    scores: list[float] | None
    types: list[int]
    merges: list[str] | None
    bos_id: int | None
    eos_id: int | None
    eot_id: int | None  # what ends a turn, where that is not the end of a text
    add_bos: bool
    chat_template: str | None


class _Place(NamedTuple):
    """heads: whose rows are interleaved; 0 where none are. transposed: whether it is [out, in] in
    the file alone."""

    part: Part
    heads: int
    transposed: bool


@dataclass(frozen=True, slots=True, eq=False)
class GgufFile:
    """config: the keys of transformers' config.json. tensors: (shape, kind in the file) by the
    names and with the shapes that transformers has: weights are [out, in], but those of gpt2's
    layers [in, out]."""

    path: Path
    config: dict[str, Any]
    tokenizer: GgufTokenizer
    tensors: dict[str, tuple[tuple[int, ...], str]]
    _places: dict[str, _Place]

    def read(self, name: str) -> Tensor:
        """The tensor as transformers has it, on the CPU: in the file's dtype if that is float32,
        float16 or bfloat16, else dequantised to float32. Takes its own memory and a few megabytes.
        Raises CheckpointError.

        LLaMA's queries and keys, weights and biases, lie in the file with the two halves of each
        head interleaved; here they are back in transformers' order.
        """
        part, heads, transposed = self._places[name]
        order = None
        if heads:
            order = torch.arange(part.shape[0]).view(heads, 2, -1).mT.flatten()
        try:
            if order is not None and len(part.shape) == 1:
                return _read(self.path, part)[order.argsort()]
            tensor = _read(self.path, part, order)
        except (OSError, ValueError) as error:
            raise broken_file(self.path, error) from error
        return tensor.T if transposed else tensor


def open_gguf(path: Path) -> GgufFile:
    """Reads the header alone. Raises CheckpointError for a file that is damaged, and for one whose
    model or kinds of tensors cannot run here."""
    size = look_at(path)
    if size is None:
        raise CheckpointError(
            f"There is no file {one_line(path)}: check the name, or download it again."
        )
    try:
        return _open(path, size)
    except NotSupported as error:
        raise CheckpointError(
            f"{one_line(path)} has {error}: choose another file, or serve this one with another "
            "program and name that with --endpoint."
        ) from error
    except (OSError, ValueError) as error:
        raise broken_file(path, error) from error


def sha256(path: Path) -> str:
    """The file's SHA-256 as hexadecimal digits; a gigabyte takes a second or two. Raises
    CheckpointError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise broken_file(path, error) from error


def _open(path: Path, size: int) -> GgufFile:
    keys, parts = read_header(path, size)
    architecture = find_architecture(keys)
    factors = None
    shapes = {part.name: part.shape for part in parts}
    if shape := shapes.pop(ROPE_FACTORS, None):
        if prod(shape) > FACTORS_MAX:
            raise ValueError(f"{ROPE_FACTORS} has {prod(shape):,} numbers")
        own = next(part for part in parts if part.name == ROPE_FACTORS)
        factors = _read(path, own).flatten().tolist()
    config = read_config(keys, shapes, factors)
    places: dict[str, _Place] = {}
    tensors: dict[str, tuple[tuple[int, ...], str]] = {}
    for part in parts:
        if part.name == ROPE_FACTORS:
            continue
        name, shape = name_tensor(architecture, part.name), part.shape
        if len(shape) > 2:
            raise NotSupported(f"the tensor {quoted(part.name)} of {len(shape)} dimensions")
        heads = 0
        if architecture.paired and (count := _INTERLEAVED.get(split_name(part.name)[1])):
            heads = config[count]
            if shape[0] != heads * config["head_dim"]:
                raise ValueError(f"{quoted(part.name)} has {shape[0]} rows for {heads} heads")
        transposed = architecture.transposed and ".h." in name and len(shape) == 2
        places[name] = _Place(part, heads, transposed)
        tensors[name] = shape[::-1] if transposed else shape, part.kind
    return GgufFile(path, config, _read_tokenizer(keys), tensors, places)


def _read(path: Path, part: Part, order: Tensor | None = None) -> Tensor:
    """order: where each row goes. Raises OSError, and ValueError if the file has become shorter:
    it is read and not mapped, for with a mapped one that would be the program's end."""
    from gguf import GGMLQuantizationType, dequantize

    kind, plain = GGMLQuantizationType[part.kind], _PLAIN.get(part.kind)
    rows, columns = prod(part.shape[:-1]), part.shape[-1]
    tensor = torch.empty(rows, columns, dtype=plain or torch.float32)
    step = max(1, _STEP // columns)
    with path.open("rb") as file:
        file.seek(part.start)
        for first in range(0, rows, step):
            last = min(first + step, rows)
            packed = np.empty((last - first, part.row_bytes), np.uint8)
            if file.readinto(packed) != packed.nbytes:  # type: ignore[arg-type]
                raise ValueError("it is cut off")
            if plain:
                numbers = torch.from_numpy(packed).view(plain)
            else:
                with np.errstate(all="ignore"):  # a damaged scale may be no number
                    one_row = dequantize(packed.reshape(1, -1), kind)  # of many, it takes 16 a time
                numbers = torch.from_numpy(one_row).view(-1, columns)
            tensor[slice(first, last) if order is None else order[first:last]] = numbers
    return tensor.view(part.shape)


# -- its tokenizer ----------------------------------------------------------------------------


def _read_tokenizer(keys: Mapping[str, Any]) -> GgufTokenizer:
    """Raises ValueError, and NotSupported."""

    def value(name: str, kind: type, default: Any = None) -> Any:
        found = keys.get(_TOKENIZER + name, default)
        if found is not default and type(found) is not kind:
            raise ValueError(f"{_TOKENIZER}{name} is {told(found)}")
        return found

    def items(name: str, kind: type, count: int | None = None) -> Any:
        found = value(name, list)
        if found is None:
            return None
        if any(type(item) is not kind for item in found) or len(found) != (count or len(found)):
            raise ValueError(f"{_TOKENIZER}{name} does not fit its tokens")
        return found

    def number(name: str) -> int | None:
        found = value(name, int)
        if found is not None and not 0 <= found < len(tokens):
            raise ValueError(f"{_TOKENIZER}{name} is {found}, and there are {len(tokens)} tokens")
        return found

    template = keys.get("tokenizer.chat_template")  # which stands beside the others
    if not isinstance(template, str | None):
        raise ValueError(f"tokenizer.chat_template is {told(template)}")
    tokens = items("tokens", str)
    if not tokens:
        raise NotSupported("no tokenizer in it")
    model, pre = value("model", str, ""), value("pre", str, "")
    if model == "llama" and not value("add_space_prefix", bool, True):
        raise NotSupported(f"{_TOKENIZER}add_space_prefix False, which is not supported")
    return GgufTokenizer(
        model=model,
        pre=pre,
        tokens=tokens,
        scores=items("scores", float, len(tokens)),
        types=items("token_type", int, len(tokens)) or [_NORMAL] * len(tokens),
        merges=items("merges", str),
        bos_id=number("bos_token_id"),
        eos_id=number("eos_token_id"),
        eot_id=number("eot_token_id"),
        add_bos=value("add_bos_token", bool, model == "llama" or pre in _BEGINS),
        chat_template=template,
    )
