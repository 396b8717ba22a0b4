"""Metrics for Prometheus: what the engine was asked for, what came of it, and how fast.

Knows the Engine protocol, which it wraps, and Prometheus' text format. Each app has figures of its
own.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from assistant.engine.protocol import Engine, Finished, Piece, Reason, Request, Stream, Waiting
from assistant.errors import AssistantError, EngineBusy, RequestError

OUTCOMES = ("stop", "length", "cancelled", "error", "refused", "busy")
TTFT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
ITL_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class Measured:
    """An Engine that counts what `engine` is asked for. registry: the figures, for
    prometheus_client.generate_latest."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._counted: WeakSet[RequestError] = WeakSet()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str) -> Counter:
            return Counter(f"assistant_{name}", text, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"assistant_{name}", text, buckets=buckets, registry=registry)

        running = Gauge("assistant_requests_running", "Requests in a slot", registry=registry)
        waiting = Gauge("assistant_requests_waiting", "Requests in line", registry=registry)
        running.set_function(lambda: engine.status().running)
        waiting.set_function(lambda: engine.status().waiting)
        requests = Counter(
            "assistant_requests", "Requests that have ended, by how", ["outcome"], registry=registry
        )
        self._outcomes = {outcome: requests.labels(outcome) for outcome in OUTCOMES}
        self._ttft = histogram(
            "time_to_first_token_seconds", "From submission to the first token, waiting included",
            TTFT_S,
        )  # fmt: skip
        self._itl = histogram(
            "inter_token_latency_seconds", "Mean time between two tokens of a request", ITL_S
        )
        self._prompt = counter("prompt_tokens", "Tokens of the prompts")
        self._cached = counter("prompt_tokens_cached", "Of these, the ones not computed anew")
        self._new = counter("generated_tokens", "Tokens that were written")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def check_room(self) -> None:
        try:
            self._engine.check_room()
        except AssistantError as error:
            self.count_failure(error)
            raise

    def generate(self, request: Request, *, wait_s: float = 0.1) -> Stream:
        try:
            return MeasuredStream(self._engine.generate(request, wait_s=wait_s), self)
        except AssistantError as error:
            self.count_failure(error)
            raise

    def count_refusal(self, error: Exception) -> None:
        """A client reads `error`, since its request cannot be done as it is: a request that ended,
        unless the engine itself said so and has counted it."""
        if error not in self._counted:
            self.count_end("refused")

    def count_failure(self, error: Exception, finished: Finished | None = None) -> None:
        """A request has ended with `error`."""
        if isinstance(error, RequestError):
            self._counted.add(error)
        kinds = {EngineBusy: "busy", RequestError: "refused", Exception: "error"}
        outcome = next(name for kind, name in kinds.items() if isinstance(error, kind))
        self.count_end(outcome, finished)

    def count_end(self, outcome: str, finished: Finished | None = None) -> None:
        """A request has ended, by one of OUTCOMES. finished: where it was begun."""
        self._outcomes[outcome].inc()
        if finished is None:
            return
        self._prompt.inc(finished.prompt_tokens)
        self._cached.inc(finished.cached_tokens)
        self._new.inc(finished.new_tokens)
        if finished.new_tokens:
            self._ttft.observe(finished.ttft_s)
        if speed := finished.tokens_per_s:
            self._itl.observe(1 / speed)


class MeasuredStream:
    """`stream`, whose end is counted once."""

    def __init__(self, stream: Stream, measured: Measured) -> None:
        self._stream, self._measured, self._open = stream, measured, True

    def __iter__(self) -> "MeasuredStream":
        return self

    def __next__(self) -> Waiting | Piece | Finished:
        try:
            item = next(self._stream)
        except StopIteration:
            raise
        except Exception as error:
            finished = self._stream.close()
            if self._end():
                self._measured.count_failure(error, finished)
            raise
        if isinstance(item, Finished) and self._end():
            self._measured.count_end(item.reason, item)
        return item

    def close(self, reason: Reason = "cancelled") -> Finished:
        finished = self._stream.close(reason)
        if self._end():
            self._measured.count_end(reason, finished)
        return finished

    def _end(self) -> bool:
        """Whether it had not ended before."""
        was_open, self._open = self._open, False
        return was_open
