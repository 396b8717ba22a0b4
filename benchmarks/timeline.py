"""Reply: the tokens of one request and when each came; rates, waits and gaps of several.

All times are seconds since the requests were submitted together.
"""

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
