"""A text without its white space, and the pieces of it that are kept in an index and looked up.

How a text is indented and where its lines break says nothing about where it comes from, so white
space does not count in comparisons at all. Knows no files and no index.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Codes: TypeAlias = NDArray[np.integer[Any]]
Offsets: TypeAlias = NDArray[np.int64]

PIECE = 25  # characters that are hashed together
BESIDE = 5

# By code point: what counts, all but white space and control characters.
_PRINTED = ~np.array(
    [chr(code).isspace() or code < 32 or 127 <= code < 160 for code in range(0x3002)]
)
_LAST = len(_PRINTED) - 1  # stands for all code points above
# A polynomial modulo 2**64 at an odd number that was drawn once; equal hashes are compared after.
_POWERS = np.array([pow(0x9E6C63D0876A9A47, n, 2**64) for n in range(PIECE)], dtype=np.uint64)


def squeeze(text: str) -> tuple[Codes, Offsets]:
    """The code points of `text` that are not blank, and where in it each of them stands. The same
    length both."""
    codes: Codes
    if text.isascii():  # most of it, at a fifth of the cost
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        offsets = np.flatnonzero(_PRINTED[codes])
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        offsets = np.flatnonzero(_PRINTED[np.minimum(codes, _LAST)])
    return codes[offsets], offsets


def is_rule(codes: Codes) -> NDArray[np.bool_]:
    """For each piece, at every place, whether it holds at most two different characters:
    those of rules and table borders stand everywhere and say nothing."""
    held = np.uint64(1) << (codes.astype(np.uint64) & np.uint64(63))  # as a set of bits
    width = 1
    while width < PIECE:  # sets of 2, 4, ... characters, the last of PIECE
        step = min(width, PIECE - width)
        held = held[:-step] | held[step:]
        width += step
    few: NDArray[np.bool_] = np.bitwise_count(held) <= 2
    return few


def places_to_store(codes: Codes) -> Offsets:
    """Where the pieces begin that an index keeps of a text, in order: every PIECE characters,
    without rules; and at both ends of each rule a piece of 20 characters of it and 5 beside it."""
    if len(codes) < PIECE:
        return np.empty(0, dtype=np.int64)
    rule = is_rule(codes)
    every = np.arange(0, len(rule), PIECE)
    edges = np.diff(rule.astype(np.int8), prepend=0, append=0)
    begins, ends = np.flatnonzero(edges == 1) - BESIDE, np.flatnonzero(edges == -1) - 1 + BESIDE
    sides = np.concatenate([begins, ends])
    sides = sides[(sides >= 0) & (sides < len(rule))]
    return np.unique(np.concatenate([every[~rule[every]], sides]))


def hashes(codes: Codes) -> NDArray[np.int64]:
    """The hash of the piece at every place of `codes`."""
    if len(codes) < PIECE:
        return np.empty(0, dtype=np.int64)
    pieces = np.lib.stride_tricks.sliding_window_view(codes, PIECE)
    return hash_rows(pieces)


def hash_rows(pieces: Codes) -> NDArray[np.int64]:
    """The hashes of rows of PIECE codes."""
    return (pieces.astype(np.uint64) @ _POWERS).view(np.int64)
