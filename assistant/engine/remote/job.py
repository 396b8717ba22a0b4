"""A request on its way to another server, and the stream that reads what comes back.

Ids become text on the reader's side, as with the local engine. Knows no HTTP.
"""

import queue
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from assistant.engine.protocol import Finished, Logprob, Piece, Reason, Request
from assistant.engine.stream import JobStream

Part: TypeAlias = tuple[str, tuple[int, ...], tuple[Logprob, ...] | None]  # text, ids, logprobs


@dataclass(eq=False, slots=True)
class Job:
    """text: the prompt, for servers that take no ids. out: Parts, then a Finished or an exception.
    first_token_at: None before. generated, cached: counts. counted: as the server counts the
    reply's tokens. ids_known: the server tells its tokens' ids."""

    request: Request
    text: str | None = None
    out: "queue.SimpleQueue[Part | Finished | Exception]" = field(default_factory=queue.SimpleQueue)
    future: Future[None] | None = None
    submitted: float = field(default_factory=time.monotonic)
    first_token_at: float | None = None
    generated: int = 0
    counted: int | None = None
    cached: int = 0
    ids_known: bool = False
    place: int = 0  # a server says nothing of its waiting room

    def put(self, text: str, ids: tuple[int, ...], logprobs: tuple[Logprob, ...] | None) -> None:
        self.first_token_at = self.first_token_at or time.monotonic()
        self.generated += len(ids) or 1
        self.out.put((text, ids, logprobs))

    def cancel(self) -> None:
        if self.future:
            self.future.cancel()

    def finished(self, reason: Reason, new_tokens: int, **more: Any) -> Finished:
        """The Finished of this job as it stands now."""
        now = time.monotonic()
        return Finished(
            reason,
            prompt_tokens=len(self.request.ids),
            cached_tokens=min(self.cached, len(self.request.ids)),
            new_tokens=new_tokens,
            waited_s=0.0,
            ttft_s=(self.first_token_at or now) - self.submitted,
            total_s=now - self.submitted,
            **more,
        )


class RemoteStream(JobStream[Job]):
    """The job's tuples are Parts. decoder: of its ids, None where only the
    server can decode them: then the text is taken as it comes, and no ids are given."""

    def _piece(self, parts: Sequence[Part]) -> Piece | None:
        text = "".join(self._text(text, ids) for text, ids, _ in parts)
        if self._last is not None and self._decoder:
            text += self._decoder.flush()
        ids = tuple(token for _, ids, _ in parts for token in ids)
        self._read += len(ids) or len(parts)
        ids = ids if self._decoder else ()
        if not ids and not text:
            return None
        asked = self.job.request.logprobs
        found = tuple(one for _, _, logprobs in parts for one in logprobs or ())
        return Piece(text, ids, found if asked else None)

    def _text(self, text: str, ids: tuple[int, ...]) -> str:
        return self._decoder.feed(ids) if ids and self._decoder else text

    def _cancel(self) -> None:
        self.job.cancel()
