"""The header of a GGUF file: its keys, and where its tensors lie.

Anyone may have written the file, so every count and length is held against the bytes that are left
and a limit before it is followed; the gguf package's own reader believes them. The format, by its
versions 2 and 3: github.com/ggml-org/ggml, docs/gguf.md.
"""

import struct
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from assistant.text import quoted

KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
HEADER_MAX = 64 << 20  # bytes; with the largest vocabularies, of 260,000 tokens, it has 16 MB
KEYS_MAX = 4_096
TENSORS_MAX = 16_384  # a model of 126 layers has 1,500
ITEMS_MAX = 2 << 20  # of all arrays together; those of such a vocabulary have 1.3 million
NAME_MAX = 256  # bytes; llama.cpp's own tensors have at most 64
TEXT_MAX = 1 << 20  # bytes of a value, such as a chat template
ROW_MAX = 1 << 22  # numbers; a row is the least that is read at once
_NUMBERS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_TEXT, _ARRAY = 8, 9


class NotSupported(ValueError):
    """What is right, but not for here; the message continues "NAME has "."""


def told(value: object) -> str:
    """A key's value in a sentence; an array may be long."""
    return f"a list of {len(value):,}" if isinstance(value, list) else quoted(value)


class Part(NamedTuple):
    """A tensor in the file. shape: the rows' length last, as torch has it. kind: one of KINDS.
    row_bytes: of a row, all `prod(shape[:-1])` of which lie from `start` on."""

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    row_bytes: int


def read_header(path: Path, size: int) -> tuple[dict[str, Any], list[Part]]:
    """Keys to values, and the tensors of a file of `size` bytes. Raises ValueError, NotSupported
    and OSError. An array is a list of numbers, bools or texts."""
    with path.open("rb") as file:
        bytes_ = _Bytes(file, min(size, HEADER_MAX))
        if bytes_.take(4) != b"GGUF":
            raise ValueError("it is not a GGUF file")
        version = bytes_.number("I")
        if version not in (2, 3):
            swapped = "big-endian" if not version & 0xFFFF else f"of GGUF's version {version}"
            raise NotSupported(f"a form that is not read, {swapped}; only versions 2 and 3 are")
        tensors, count = bytes_.count(TENSORS_MAX, "tensors"), bytes_.count(KEYS_MAX, "keys")
        keys: dict[str, Any] = {}
        for _ in range(count):
            key = bytes_.text(NAME_MAX)
            if key in keys:
                raise ValueError(f"it has the key {quoted(key)} twice")
            keys[key] = bytes_.value(bytes_.number("I"))
        if type(split := keys.get("split.count", 0)) is not int or split > 1:
            raise NotSupported(
                f"only a part of a model, which is split into {told(split)} files; join them "
                "with llama.cpp's llama-gguf-split --merge"
            )
        align = keys.get("general.alignment", 32)
        if type(align) is not int or not 8 <= align <= 1 << 16 or align & (align - 1):
            raise ValueError(f"general.alignment is {told(align)}")
        parts = [_read_part(bytes_, align) for _ in range(tensors)]
        start = -(-file.tell() // align) * align  # the tensors' own offsets count from here
    for one, next_ in pairwise(sorted(part.name for part in parts)):
        if one == next_:
            raise ValueError(f"it has the tensor {quoted(one)} twice")
    parts = [part._replace(start=start + part.start) for part in parts]
    for part in parts:
        if part.start + prod(part.shape[:-1]) * part.row_bytes > size:
            raise ValueError(f"it ends before the tensor {quoted(part.name)} does")
    return keys, parts


def _read_part(bytes_: "_Bytes", align: int) -> Part:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name = bytes_.text(NAME_MAX)
    shape = tuple(bytes_.number("Q") for _ in range(bytes_.count(4, "dimensions", "I")))[::-1]
    number, start = bytes_.number("I"), bytes_.number("Q")
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        raise ValueError(f"{quoted(name)} is of the unknown kind {number}") from None
    if kind.name not in KINDS:
        raise NotSupported(f"tensors of the kind {kind.name}; only {', '.join(KINDS)} are read")
    block, block_bytes = GGML_QUANT_SIZES[kind]
    if not shape or not all(shape) or shape[-1] % block  or start % align:
        raise ValueError(f"{quoted(name)} has a size or a place that no tensor has")
    return Part(name, shape, kind.name, start, shape[-1] // block * block_bytes)


class _Bytes:
    """Reads on in `file`, up to `left` bytes. Raises ValueError where there are not so many."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file, self._left, self._items = file, left, ITEMS_MAX

    def take(self, count: int) -> bytes:
        if count > self._left:
            raise ValueError(
                f"its header is cut off, or has more than the {HEADER_MAX:,} bytes that are read"
            )
        self._left -= count
        data = self._file.read(count)
        if len(data) < count:
            raise ValueError("it is cut off")
        return data

    def number(self, form: str) -> Any:
        """form: as in the struct module."""
        return struct.unpack("<" + form, self.take(struct.calcsize(form)))[0]

    def count(self, most: int, what: str, form: str = "Q") -> int:
        count: int = self.number(form)
        if count > most:
            raise ValueError(f"it says that it has {count:,} {what}, and at most {most:,} are read")
        return count

    def text(self, most: int) -> str:
        data = self.take(self.count(most, "bytes in a text"))
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise ValueError(f"it has the text {quoted(data)}, which is not UTF-8") from None

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self.text(TEXT_MAX)
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind != _ARRAY:
            raise ValueError(f"it has a value of the unknown kind {kind}")
        kind = self.number("I")
        count = self.count(self._items, "more items of arrays")
        self._items -= count
        if kind == _TEXT:
            return [self.text(TEXT_MAX) for _ in range(count)]
        if kind not in _NUMBERS:
            raise ValueError(f"it has an array of the kind {kind}")
        form = _NUMBERS[kind]
        data = self.take(count * struct.calcsize(form))
        return list(struct.unpack(f"<{count}{form}", data))
