"""common_prefix(): how far two sequences are alike from their start on."""

from collections.abc import Sequence


def common_prefix(a: Sequence[object], b: Sequence[object], limit: int | None = None) -> int:
    """How many leading items `a` and `b` (str, or lists and tuples of ids) share, at most `limit`.

    Halves what is left to compare: slices compare at C speed, items one by one do not.
    """
    if type(a) is not type(b):
        a, b = list(a), list(b)
    low, high = 0, min(len(a), len(b))
    high = high if limit is None else min(high, limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low
