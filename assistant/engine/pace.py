"""How many prompt tokens a step may compute while others wait for their next token.

The cost of prefill is measured at load: it grows with the tokens and, through attention, with what
stands before them. Knows times and counts; no requests.
"""

import time

import torch

from assistant.engine.model import Chunk

ALONE = 512  # prompt tokens in a step when nobody decodes: bounds the time to a cancel
_SMALL, _LARGE = 16, 256  # tokens of the chunks that are measured; all are multiples of _SMALL
# How many times as long as the decode step beside it a chunk may take: the others' gaps grow by so
# much, and the prompt's time to first token by one part in so many.
_SHARE = {"cpu": 3.0, "cuda": 1.8}


class Pace:
    """Measured for `model` with `cache`, whose slot 0 is overwritten. decode_s: how long a decode
    step takes now."""

    def __init__(self, model, cache):
        def time_of(size, start):
            return _fastest(lambda: model.prefill([Chunk([0] * size, 0, start)], cache.kv))

        small, large = min(_SMALL, model.window), min(_LARGE, model.window)
        self._base = time_of(small, 0)
        self._per_token = max(time_of(large, 0) - self._base, 0) / max(large - small, 1)
        start = model.window - small
        self._per_pair = max(time_of(small, start) - self._base, 0) / max(small * start, 1)
        self._share = _SHARE.get(model.device.type, 1.0)
        row = torch.zeros(1, dtype=torch.long, device=model.device)
        self.decode_s = _fastest(lambda: model.decode(row, row, row, cache.kv))

    def decoded(self, seconds):
        """A decode step took so long. A single slow one, in which the machine did something else,
        hardly counts."""
        self.decode_s = min(seconds, 1.05 * self.decode_s)

    def tokens(self, start):
        """How many tokens from position `start` on may be computed in the next step."""
        spare = self._share * self.decode_s - self._base
        each = self._per_token + self._per_pair * start
        count = spare / each if each else ALONE
        return int(min(max(count // _SMALL * _SMALL, _SMALL), ALONE))


def _fastest(compute):
    """Seconds of the fastest of three."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        compute().sum().item()  # waits for the device
        times.append(time.perf_counter() - started)
    return min(times)
