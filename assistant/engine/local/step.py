"""One decode step from rows to the tokens drawn, on CUDA as captured graphs.

Nothing on a step's way waits for the device but reading what was drawn. Knows the model, the cache
and the sampler; no requests.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, cast

import torch
from torch import Tensor

from assistant.engine.device import on_card, pinned, receive, send
from assistant.engine.local.cache import Cache
from assistant.engine.local.sampler import Sampler, alternatives
from assistant.engine.model.model import Model

_SCORED = 64  # rows whose logits are there at once: 13 MB for StarCoder's vocabulary
_BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # rows that graphs are captured for


# A drawn token's log-probability, and the likeliest ids with theirs.
Scores: TypeAlias = tuple[float, tuple[tuple[int, float], ...]]
Token: TypeAlias = tuple[int, Scores | None]  # its id, and its scores where they are asked for


class Row(NamedTuple):
    """id: the token to compute, -1 for the one that its slot drew last. Its KV goes to `position`
    of `slot`; the token drawn is that of the next position."""

    id: int
    slot: int
    position: int


class DecodeStep:
    """Draws tokens after decode rows, or from the logits that prefill gave.

    late: what a step drew should be read after the next one was launched (CUDA computes meanwhile).
    graphs: (rows, inputs, outputs, graph) of the captured steps, fewest rows first.
    """

    def __init__(self, model: Model, cache: Cache, sampler: Sampler) -> None:
        self.model, self.cache, self.sampler = model, cache, sampler
        self.late = not model.waits
        self._last = torch.zeros(cache.kv[0].shape[1], dtype=torch.long, device=model.device)
        self.graphs: list[tuple[int, Tensor, tuple[Tensor, Tensor], torch.cuda.CUDAGraph]] = []

    def decode(self, rows: Sequence[Row], *, top: int = 0, **how: bool) -> "StepResult":
        """Compute `rows` and draw after each, as StepResult. top: how many alternatives are wanted;
        0 none, and no log-probabilities. how: see Sampler.sample."""
        return StepResult(*self.compute(rows, **how), top)

    def compute(self, rows: Sequence[Row], **how: bool) -> tuple[Tensor, Tensor]:
        """(tokens [rows], logits [rows, vocabulary]) on the device; the logits until the next step
        is computed."""
        for count, given, (tokens, logits), graph in self.graphs:
            if count >= len(rows):
                rest = self._spare_rows(len(rows), count)
                given.copy_(pinned(_columns([*rows, *rest])), non_blocking=True)
                graph.replay()
                return tokens[: len(rows)].clone(), logits[: len(rows)]
        return self._decode(send(_columns(rows), self.model.device), **how)

    def _spare_rows(self, start: int, end: int) -> list[Row]:
        """What fills a captured step up: rows whose KV and token nobody reads."""
        return [
            Row(0, cast(int, self.cache.spare), n % self.model.window) for n in range(start, end)
        ]

    def draw(
        self,
        logits: Tensor,
        slots: Sequence[int],
        positions: Sequence[int],
        *,
        top: int = 0,
        **how: bool,
    ) -> "StepResult":
        """Draw the tokens for `positions` of `slots` from logits [rows, vocabulary]."""
        at = send([slots, positions], self.model.device)
        return StepResult(self._sample(logits, at[0], at[1], **how), logits, top)

    def scores(self, hidden: Tensor, ids: Sequence[int], top: int) -> list[Token]:
        """What StepResult.read() gives, as if `ids` had been drawn after the hidden states of
        prefill [len(ids), width]."""
        tokens = send(ids, self.model.device)
        parts = zip(hidden.split(_SCORED), tokens.split(_SCORED), strict=True)
        return [
            score
            for rows, drawn in parts
            for score in StepResult(drawn, self.model.logits(rows), top).read()
        ]

    def _decode(self, inputs: Tensor, **how: bool) -> tuple[Tensor, Tensor]:
        ids, slots, positions = inputs
        if self.late:
            ids = torch.where(ids < 0, self._last[slots], ids).clamp(min=0)
        logits = self.model.decode(ids, slots, positions, self.cache.kv)
        return self._sample(logits, slots, positions + 1, **how), logits

    def _sample(self, logits: Tensor, slots: Tensor, positions: Tensor, **how: bool) -> Tensor:
        tokens = self.sampler.sample(logits, slots, positions, **how)
        if self.late:
            self._last[slots] = tokens
        return tokens

    def capture(self, most_rows: int) -> None:
        """Record a step for each number of rows up to `most_rows`, the largest first: all share its
        memory, and one stream, since the libraries keep memory for each."""
        pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()
        counts = [count for count in _BUCKETS if count < most_rows] + [most_rows]
        stream.wait_stream(torch.cuda.current_stream())
        # The outer block gives the stream back that was in use when a recording fails, too.
        with torch.cuda.stream(stream):
            for count in reversed(counts):
                inputs = send(_columns(self._spare_rows(0, count)), self.model.device)
                self._decode(inputs)  # compiles what must not be while recording
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=pool, stream=stream):
                    outputs = self._decode(inputs)
                self.graphs.insert(0, (count, inputs, outputs, graph))
        torch.cuda.current_stream().wait_stream(stream)


def _columns(rows: Sequence[Row]) -> list[tuple[int, ...]]:
    """Ids, slots and positions, each as long as there are rows."""
    return list(zip(*rows, strict=True))


class StepResult:
    """Tokens on their way to the host. tokens: int64 [rows]; logits: those they were drawn from."""

    def __init__(self, tokens: Tensor, logits: Tensor, top: int) -> None:
        self._tensors = [tokens, *(alternatives(logits, tokens, top) if top else ())]
        self._event: torch.cuda.Event | None = None
        if on_card(tokens.device):
            self._tensors = [receive(tensor) for tensor in self._tensors]
            self._event = torch.cuda.Event(blocking=True)  # another one would keep a core busy
            self._event.record()

    def read(self) -> list[Token]:
        """Waits for them."""
        if self._event:
            self._event.synchronize()
        tokens, *rest = (tensor.tolist() for tensor in self._tensors)
        if not rest:
            return [(token, None) for token in tokens]
        return [
            (token, (own, tuple(zip(ids, scores, strict=True))))
            for token, own, scores, ids in zip(tokens, *rest, strict=True)
        ]
