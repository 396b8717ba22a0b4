"""squeeze() and hashes(): a text without its white space, and the pieces of it that are looked up.

How a text is indented and where its lines break says nothing about where it comes from, so white
space does not count in comparisons at all. Knows no files and no index.
"""

import numpy as np

PIECE = 25  # characters that are hashed together

# By code point: what counts, all but white space and control characters.
_PRINTED = ~np.array(
    [chr(code).isspace() or code < 32 or 127 <= code < 160 for code in range(0x3002)]
)
_LAST = len(_PRINTED) - 1  # stands for all code points above
# A polynomial modulo 2**64 at an odd number that was drawn once; equal hashes are compared after.
_POWERS = np.array([pow(0x9E6C63D0876A9A47, n, 2**64) for n in range(PIECE)], dtype=np.uint64)


def squeeze(text):
    """(codes, offsets): the code points of `text` that are not blank (integers), and where in it
    each of them stands (int64). The same length both."""
    if text.isascii():  # most of it, at a fifth of the cost
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        offsets = np.flatnonzero(_PRINTED[codes])
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        offsets = np.flatnonzero(_PRINTED[np.minimum(codes, _LAST)])
    return codes[offsets], offsets


def hashes(codes, stride):
    """The hash (int64) of each piece of PIECE codes that begins at 0, stride, 2 * stride, ..."""
    if len(codes) < PIECE:
        return np.empty(0, dtype=np.int64)
    pieces = np.lib.stride_tricks.sliding_window_view(codes, PIECE)[::stride]
    return (pieces.astype(np.uint64) @ _POWERS).view(np.int64)
