"""How many prompt tokens a step may compute while others wait for their next token.

The cost of prefill is measured at load: it grows with the tokens and, through attention, with what
stands before them. Knows times and counts; no requests.
"""

import time

import torch

from assistant.engine.model import Chunk

_SMALL, _MOST = 16, 512  # tokens of a chunk
_LARGE = {"cpu": 64, "cuda": 512}  # tokens of the chunk that is measured beside the smallest one
_ALONE_S = 0.3  # how long a chunk may take when nobody decodes: the time to a cancel
_PATIENCE_S = 0.25  # what took longer in all is not measured again
# How many times as long as the decode step beside it a chunk may take: the others' gaps grow by so
# much, and the prompt's time to first token by one part in so many.
_SHARE = {"cpu": 3.5, "cuda": 1.8}


class Pace:
    """Measured for `model` with `cache`, whose slot 0 is overwritten. decode_s: how long a decode
    step takes now. fixed: tokens of a chunk where its size must be the same every time."""

    def __init__(self, model, cache):
        def time_of(size, start):
            return _fastest(lambda: model.prefill([Chunk([0] * size, 0, start)], cache.kv))

        kind = model.device.type
        self.fixed = _LARGE.get(kind, 64)
        small, large = min(_SMALL, model.window), min(self.fixed, model.window)
        self._base = time_of(small, 0)
        self._per_token = max(time_of(large, 0) - self._base, 0) / max(large - small, 1)
        start = model.window - small
        self._per_pair = max(time_of(small, start) - self._base, 0) / max(small * start, 1)
        self._share = _SHARE.get(kind, 1.0)
        row = torch.zeros(1, dtype=torch.long, device=model.device)
        self.decode_s = _fastest(lambda: model.decode(row, row, row, cache.kv))

    def decoded(self, seconds):
        """A decode step took so long. A single slow one, in which the machine did something else,
        hardly counts."""
        self.decode_s = min(seconds, 1.05 * self.decode_s)

    def tokens(self, start, *, alone=False):
        """How many tokens from position `start` on may be computed in the next step."""
        spare = (_ALONE_S if alone else self._share * self.decode_s) - self._base
        each = self._per_token + self._per_pair * start
        count = spare / each if each else _MOST
        return int(min(max(count, _SMALL), _MOST))


def _fastest(compute):
    """Seconds of the fastest of three, or fewer if they are slow."""
    times = []
    while len(times) < 3 and sum(times) < _PATIENCE_S:
        started = time.perf_counter()
        compute().sum().item()  # waits for the device
        times.append(time.perf_counter() - started)
    return min(times)
