"""JobStream: what the streams of all engines do: read a job's queue, and give its text and its end.

Knows jobs, which an engine's own thread fills; computes nothing. See the Stream protocol.
"""

import queue
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from assistant.engine.protocol import Decoder, Finished, Piece, Reason, Waiting


class Job(Protocol):
    """out: tuples, then a Finished or an exception. place: in the waiting room."""

    @property
    def out(self) -> "queue.SimpleQueue[Any]": ...
    @property
    def place(self) -> int: ...
    def finished(self, reason: Reason, new_tokens: int) -> Finished: ...


JobT = TypeVar("JobT", bound=Job)


class JobStream(Generic[JobT]):
    """An engine says what its job's tuples are: `_piece` and `_cancel` are its own."""

    def __init__(self, job: JobT, decoder: Decoder | None, wait_s: float) -> None:
        self.job, self._decoder, self._wait_s = job, decoder, wait_s
        self._read = 0  # tokens given out
        # What came behind text not yet given out.
        self._last: Finished | Exception | None = None
        self._ended = False

    def _piece(self, parts: Sequence[Any]) -> Piece | None:
        """The text of these tuples, if there is any. Behind them the stream ends if `_last`."""
        raise NotImplementedError

    def _cancel(self) -> None:
        """End what is being computed."""
        raise NotImplementedError

    def __iter__(self) -> "JobStream[JobT]":
        return self

    def __next__(self) -> Waiting | Piece | Finished:
        if self._ended:
            raise StopIteration
        piece = self._piece(self._drain() if self._last is None else [])
        if piece:
            return piece
        if self._last is None:
            return Waiting(self.job.place)
        self._ended = True
        if isinstance(self._last, Exception):
            raise self._last
        return self._last

    def _drain(self) -> list[Any]:
        """What is there, waiting up to `wait_s` for the first; sets `_last`."""
        parts: list[Any] = []
        try:
            item = self.job.out.get(self._wait_s > 0, self._wait_s or None)
            while isinstance(item, tuple):
                parts.append(item)
                item = self.job.out.get_nowait()
            self._last = item
        except queue.Empty:
            pass
        return parts

    def close(self, reason: Reason = "cancelled") -> Finished:
        self._ended = True
        self._cancel()
        return self.job.finished(reason, self._read)

    __del__ = close  # a reader that simply goes away must not keep its place
