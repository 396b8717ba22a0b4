"""Metrics for Prometheus: what the engine was asked for, what came of it, and how fast.

Knows the Engine protocol, which it wraps, and Prometheus' text format. Each app has figures of its
own.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from assistant.engine.protocol import Finished
from assistant.errors import AssistantError, EngineBusy, RequestError

OUTCOMES = ("stop", "length", "cancelled", "error", "refused", "busy")
TTFT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
ITL_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class Measured:
    """An Engine that counts what `engine` is asked for. registry: the figures, for
    prometheus_client.generate_latest."""

    def __init__(self, engine):
        self._engine = engine
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name, text):
            return Counter(f"assistant_{name}", text, registry=registry)

        def histogram(name, text, buckets):
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

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def check_room(self):
        self._counted(self._engine.check_room)

    def generate(self, request, *, wait_s=0.1):
        return MeasuredStream(
            self._counted(self._engine.generate, request, wait_s=wait_s), self.ended
        )

    def refused(self, error):
        """`error` is told to a client whose request cannot be done as asked: a request that ended,
        unless the engine itself said so and has been counted."""
        if not getattr(error, "counted", False):
            self.ended("refused")

    def _counted(self, call, *values, **options):
        """What the call gives; what it raises is an outcome."""
        try:
            return call(*values, **options)
        except AssistantError as error:
            self.ended(_outcome(error))
            raise

    def ended(self, outcome, finished=None):
        """A request has ended. finished: its Finished, where it was begun."""
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


def _outcome(error):
    """By which of OUTCOMES `error` is counted, which it remembers."""
    error.counted = True
    kinds = {EngineBusy: "busy", RequestError: "refused", Exception: "error"}
    return next(name for kind, name in kinds.items() if isinstance(error, kind))


class MeasuredStream:
    """The Stream `stream`. ended: called once, at its end, see Measured.ended."""

    def __init__(self, stream, ended):
        self._stream, self._ended, self._open = stream, ended, True

    def __iter__(self):
        return self

    def __next__(self):
        try:
            item = next(self._stream)
        except StopIteration:
            raise
        except Exception as error:
            self._end(_outcome(error), self._stream.close())
            raise
        if isinstance(item, Finished):
            self._end(item.reason, item)
        return item

    def close(self, reason="cancelled"):
        counts = self._stream.close(reason)
        self._end(reason, counts)
        return counts

    def _end(self, outcome, finished):
        if self._open:
            self._open = False
            self._ended(outcome, finished)
