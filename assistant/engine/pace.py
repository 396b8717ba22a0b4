"""How many prompt tokens a step may compute while others wait for their next token.

The cost of prefill is measured at load: it grows with the tokens and, through attention, with what
stands before them. Knows times and counts; no requests.
"""

import bisect
import time

import torch

from assistant.engine.model import Chunk

ALONE = 512  # prompt tokens in a step when nobody decodes: bounds the time to a cancel
_SIZES = (16, 32, 64, 128, 256, 512)
_SHARE = 2.0  # a chunk may take so many times as long as the decode step beside it
_PATIENCE_S = 0.25  # larger chunks are not measured once one took so long


class Pace:
    """Measured for `model` with `cache`, whose slot 0 is overwritten. decode_s: how long a decode
    step takes; whoever computes them may keep it up to date."""

    def __init__(self, model, cache):
        def time_of(size, start):
            return _fastest(lambda: model.prefill([Chunk([0] * size, 0, start)], cache.kv))

        self._sizes, self._seconds = [], []
        for size in _SIZES:
            if size > model.window or (self._seconds and self._seconds[-1] > _PATIENCE_S):
                break
            self._sizes.append(size)
            self._seconds.append(time_of(size, 0))
        size = self._sizes[min(2, len(self._sizes) - 1)]
        start = model.window - size
        longer = time_of(size, start) - time_of(size, 0) if start else 0
        self._per_pair = max(longer, 0) / (size * start) if start else 0
        row = torch.zeros(1, dtype=torch.long, device=model.device)
        self.decode_s = _fastest(lambda: model.decode(row, row, row, cache.kv))

    def tokens(self, start):
        """How many tokens from position `start` on may be computed in the next step."""
        limit = _SHARE * self.decode_s
        costs = [
            seconds + self._per_pair * size * start
            for size, seconds in zip(self._sizes, self._seconds, strict=True)
        ]
        return self._sizes[max(bisect.bisect_right(costs, limit) - 1, 0)]


def _fastest(compute):
    """Seconds of the fastest of three."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        compute().sum().item()  # waits for the device
        times.append(time.perf_counter() - started)
    return min(times)
