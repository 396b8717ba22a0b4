"""JobStream: what the streams of all engines do: read a job's queue, and give its text and its end.

Knows jobs, which an engine's own thread fills; computes nothing. See the Stream protocol.
"""

import queue

from assistant.engine.protocol import Waiting


class JobStream:
    """A job has `out`, a queue of tuples behind which comes a Finished or an exception; `place`;
    and finished(reason, new_tokens). An engine says what its tuples are: `_piece(parts)` gives a
    Piece or None, and `_cancel()` ends what is being computed."""

    def __init__(self, job, decoder, wait_s):
        self.job, self._decoder, self._wait_s = job, decoder, wait_s
        self._read = 0  # tokens given out
        self._last = None  # a Finished or an exception that came behind text not yet given out
        self._ended = False

    def __iter__(self):
        return self

    def __next__(self):
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

    def _drain(self):
        """What is there, waiting up to `wait_s` for the first; sets `_last`."""
        parts = []
        try:
            item = self.job.out.get(self._wait_s > 0, self._wait_s or None)
            while isinstance(item, tuple):
                parts.append(item)
                item = self.job.out.get_nowait()
            self._last = item
        except queue.Empty:
            pass
        return parts

    def close(self, reason="cancelled"):
        self._ended = True
        self._cancel()
        return self.job.finished(reason, self._read)

    __del__ = close  # a reader that simply goes away must not keep its place
