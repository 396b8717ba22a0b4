"""One decode step from rows to the tokens drawn, on CUDA as captured graphs.

Knows the model, the cache and the sampler; no requests.
"""

from typing import NamedTuple

import torch

from assistant.engine.attention import on_kernels
from assistant.engine.sampler import alternatives

_SCORED = 64  # rows whose logits are there at once: 13 MB for StarCoder's vocabulary
_BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # rows that graphs are captured for


class Row(NamedTuple):
    """id: the token to compute, -1 for the one that its slot drew last. Its KV goes to `position`
    of `slot`; the token drawn is that of the next position."""

    id: int
    slot: int
    position: int


class Draw:
    """Draws tokens after decode rows, or from the logits that prefill gave.

    late: what a step drew should be read after the next one was launched (CUDA computes meanwhile).
    """

    def __init__(self, model, cache, sampler, most_rows):
        self.model, self.cache, self.sampler = model, cache, sampler
        self.late = model.device.type == "cuda"
        self._last = torch.zeros(len(cache.ids), dtype=torch.long, device=model.device)
        self._graphs = []  # (rows, inputs, outputs, graph), fewest rows first
        if on_kernels(model.device, model.heads, model.head_dim):
            self._capture(most_rows)

    def decode(self, rows, *, greedy=False, penalised=True, top=0):
        """Compute `rows` and draw after each, as Drawn. greedy, penalised: see Sampler.sample.
        top: how many alternatives are wanted; 0 none, and no log-probabilities."""
        inputs = torch.tensor(list(zip(*rows, strict=True)))  # [3, rows]
        for count, given, (tokens, logits), graph in self._graphs:
            if count >= len(rows):
                # What is left over repeats the first row: the same KV is written again.
                padded = torch.cat([inputs, inputs[:, :1].expand(3, count - len(rows))], 1)
                given.copy_(padded, non_blocking=True)
                graph.replay()
                return Drawn(tokens[: len(rows)].clone(), logits[: len(rows)], top)
        inputs = inputs.to(self.model.device, non_blocking=True)
        return Drawn(*self._decode(inputs, greedy, penalised), top)

    def first(self, logits, slots, positions, *, greedy=False, penalised=True, top=0):
        """Draw the tokens for `positions` of `slots` (lists) from logits [rows, vocabulary]."""
        rows = torch.tensor([slots, positions])
        slots, positions = rows.to(self.model.device, non_blocking=True)
        return Drawn(self._sample(logits, slots, positions, greedy, penalised), logits, top)

    def scores(self, hidden, ids, top):
        """What Drawn.read() gives, as if `ids` (a list) had been drawn after the hidden states of
        prefill [len(ids), width]."""
        tokens = torch.tensor(ids, device=self.model.device)
        parts = zip(hidden.split(_SCORED), tokens.split(_SCORED), strict=True)
        return [
            score
            for rows, drawn in parts
            for score in Drawn(drawn, self.model.logits(rows), top).read()
        ]

    def _decode(self, inputs, greedy, penalised):
        ids, slots, positions = inputs
        if self.late:
            ids = torch.where(ids < 0, self._last[slots], ids).clamp(min=0)
        logits = self.model.decode(ids, slots, positions, self.cache.kv)
        return self._sample(logits, slots, positions + 1, greedy, penalised), logits

    def _sample(self, logits, slots, positions, greedy, penalised):
        tokens = self.sampler.sample(logits, slots, positions, greedy=greedy, penalised=penalised)
        if self.late:
            self._last[slots] = tokens
        return tokens

    def _capture(self, most_rows):
        """Record a step for each number of rows, the largest first: all share its memory."""
        pool = torch.cuda.graph_pool_handle()
        counts = [count for count in _BUCKETS if count < most_rows] + [most_rows]
        for count in reversed(counts):
            inputs = torch.zeros(3, count, dtype=torch.long, device=self.model.device)
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # compiles what must not be compiled while recording
                self._decode(inputs, False, True)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                outputs = self._decode(inputs, False, True)
            self._graphs.insert(0, (count, inputs, outputs, graph))


class Drawn:
    """Tokens on their way to the host. tokens: int64 [rows]; logits: those they were drawn from."""

    def __init__(self, tokens, logits, top):
        self._tensors = [tokens, *(alternatives(logits, tokens, top) if top else ())]
        self._event = None
        if tokens.is_cuda:
            self._tensors = [_to_host(tensor) for tensor in self._tensors]
            self._event = torch.cuda.Event()
            self._event.record()

    def read(self):
        """Waits for them: [(id, None or (log-probability, ((id, log-probability), ...)))]."""
        if self._event:
            self._event.synchronize()
        tokens, *rest = (tensor.tolist() for tensor in self._tensors)
        if not rest:
            return [(token, None) for token in tokens]
        return [
            (token, (own, tuple(zip(ids, scores, strict=True))))
            for token, own, scores, ids in zip(tokens, *rest, strict=True)
        ]


def _to_host(tensor):
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
