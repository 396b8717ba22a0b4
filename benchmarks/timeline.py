"""Reply: the tokens of one request and when each came; rates, waits and gaps of several.

All times are seconds since the requests were submitted together.
"""

import math
import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """ids: the new tokens. times: when each was there, as long as ids."""

    ids: list[int]
    times: list[float]


def decode_rate(replies):
    """Tokens a second of all `replies` together, counted while all of them were decoding; None
    when the first had ended before the last began."""
    start = max(reply.times[0] for reply in replies)
    end = min(reply.times[-1] for reply in replies)
    tokens = sum(start < time <= end for reply in replies for time in reply.times)
    return tokens / (end - start) if tokens else None


def first_token(replies):
    """Seconds to the first token (TTFT), the median of `replies`."""
    return statistics.median(reply.times[0] for reply in replies)


def gaps(replies, start=0.0, end=float("inf")):
    """Inter-token latencies (ITL) in seconds: each gap between two tokens that touches the time
    from `start` to `end`."""
    return [
        after - before
        for reply in replies
        for before, after in zip(reply.times, reply.times[1:], strict=False)
        if after > start and before < end
    ]


def percentile(values, share):
    """The value below which `share` (0 to 1) of `values` lie, the nearest one; None of none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def median(values):
    """The median of those that are not None, or None."""
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def interval(values, confidence=0.95):
    """(low, high), between which the median of what `values` are drawn from lies with this
    confidence, whatever its shape: two of the values, by their order (a sign test turned round).
    Of fewer than six values the smallest and the largest, which hold with less."""
    ordered, count = sorted(values), len(values)
    place = 0
    while 2 * sum(math.comb(count, n) for n in range(place + 2)) / 2**count <= 1 - confidence:
        place += 1
    return ordered[place], ordered[-1 - place]
