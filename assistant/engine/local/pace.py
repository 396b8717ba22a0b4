"""How many prompt tokens a step may compute while others wait for their next token.

The cost of prefill is measured at load, and again with every chunk that is computed: a chunk takes
a while by itself, each token adds to it, and through attention more the more stands before it.
Knows times and counts; no requests.
"""

import time
from collections.abc import Callable
from statistics import fmean, linear_regression, pstdev
from typing import cast

from assistant.engine.local.step import DecodeStep, Row
from assistant.engine.local.threads import fastest
from assistant.engine.model.model import Chunk

_MOST = 512  # tokens of a chunk
_LARGE = {"cpu": 64, "cuda": 512}  # tokens of the chunk that is measured beside the smallest one
_DEEP = 2_048  # where it is measured what the tokens before a chunk add
_ALONE_S = 0.3  # how long a chunk may take when nobody decodes: the time to a cancel
_PATIENCE_S = 0.25  # what took longer in all is not measured again
# How many times as long as the decode step beside it a chunk may take: the others' gaps grow by so
# much, and the prompt's time to first token by one part in so many.
_SHARE = {"cpu": 3.5, "cuda": 1.8}
_CHUNKS = 16  # the newest ones, which say what a chunk costs


class Pace:
    """Measured on a DecodeStep, in slot 0 of its cache, which is overwritten. decode_s: seconds of
    a decode step now. fixed: tokens of a chunk where its size must be the same every time."""

    def __init__(self, decode_step: DecodeStep) -> None:
        model, cache = decode_step.model, decode_step.cache

        def time_of(size: int, start: int) -> float:
            chunk = Chunk([0] * size, 0, start)
            return _fastest(lambda: model.prefill([chunk], cache.kv).sum().item())

        kind = "cpu" if model.waits else model.device.type
        slides = model.config.sliding is not None and not model.config.sliding_from
        # Tokens before a chunk that add to its cost: those that any layer sees.
        self._reach = cast(int, model.config.sliding) if slides else model.window
        self._small = min(model.prefill_tile, model.window - 1)
        self.fixed = max(_LARGE.get(kind, 64), model.prefill_tile)
        large = min(max(self.fixed, 2 * self._small), model.window)
        few, many = time_of(self._small, 0), time_of(large, 0)
        start = min(_DEEP, model.window - self._small)
        for kv in cache.of(0):
            kv[:, :start].zero_()  # memory that nobody has written takes another time to read
        more = max(time_of(self._small, start) - few, 0)
        per_pair = more / (self._small * min(start, self._reach))
        per_token = max(many - few, 0.1 * many) / (large - self._small)
        self._growth = per_pair / per_token  # of a token's cost, with each token before it
        self._base, self._per_token = 0.0, few / self._small
        # (tokens, seconds), newest last
        self._chunks: list[tuple[float, float]] = [(self._small, few), (large, many)]
        self._fit()
        self._share = _SHARE.get(kind, 1.0)
        row = Row(0, 0, 0)
        self.decode_s = _fastest(
            lambda: decode_step.decode([row], greedy=True, penalised=False).read()
        )

    def note_step(self, seconds: float) -> None:
        """A decode step took so long. A single slow one, in which the machine did something else,
        hardly counts."""
        self.decode_s = min(seconds, 1.05 * self.decode_s)

    def note_chunk(self, start: int, count: int, seconds: float) -> None:
        """A chunk of `count` tokens from position `start` on took so long."""
        self._chunks = [*self._chunks[1 - _CHUNKS :], (count * self._each(start), seconds)]
        self._fit()

    def _each(self, start: int) -> float:
        """What a token from position `start` on costs, in what one costs at the beginning."""
        return 1 + self._growth * min(start, self._reach)

    def _fit(self) -> None:
        """A line through the newest chunks: seconds = base + tokens x per token. Chunks of one size
        alone say only how much dearer or cheaper all has become."""
        tokens, seconds = zip(*self._chunks, strict=True)
        x, y = fmean(tokens), fmean(seconds)
        self._alike = pstdev(tokens, x) < 0.1 * x
        if self._alike:
            change = y / (self._base + self._per_token * x)
            self._base, self._per_token = self._base * change, self._per_token * change
        else:
            slope, _ = linear_regression(tokens, seconds)
            self._per_token = min(max(slope, 0.1 * y / x), y / x)
            self._base = y - self._per_token * x

    def tokens(self, start: int, *, alone: bool = False) -> int:
        """How many tokens from position `start` on may be computed in the next step: at least so
        many that they cost as much as beginning the chunk does. Where even the smallest chunk
        takes too long, small ones would only take longer in all."""
        each = self._per_token * self._each(start)
        budget = _ALONE_S if alone else self._share * self.decode_s
        count = max(budget - self._base, self._base) / each
        tokens, seconds = self._chunks[-1]
        if self._alike and seconds > 2 * budget:
            count = min(count, tokens / 2)  # whether beginning it is what costs is seen by this
        return min(max(int(count) // self._small, 1) * self._small, _MOST)


def _fastest(compute: Callable[[], object]) -> float:
    """Seconds of the fastest of three, after a first one that does not count: it may load and
    compile. `compute` waits for the device."""
    compute()
    return fastest(compute, time.perf_counter, 3, _PATIENCE_S)
