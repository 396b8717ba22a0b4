"""Runs: the replies that are being written for open pages, under the numbers that the pages gave
them, so that they can be stopped. Knows nothing of what is shown.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from anyio import to_thread

from assistant.errors import RequestError
from assistant.web.pages.events import BUSY


class Closes(Protocol):
    """A reply, or several."""

    def close(self) -> object: ...


class HasReply(Protocol):
    """What asking for a reply gives."""

    @property
    def reply(self) -> Closes: ...


Request = TypeVar("Request", bound=HasReply)


class Runs:
    def __init__(self) -> None:
        self._replies: dict[str, Closes | None] = {}  # None while it is asked for
        self._stopped: set[str] = set()  # of these

    async def begin(self, run: str, ask: Callable[[], Request]) -> Request:
        """What `ask()`, called in a thread, gives; `end` must follow. Raises what it raises, and
        RequestError for a number that is in use."""
        if run in self._replies:
            raise RequestError(BUSY)
        self._replies[run] = None
        try:
            request = await to_thread.run_sync(ask)
        except BaseException:
            self.end(run)
            raise
        self._replies[run] = request.reply
        if run in self._stopped:
            request.reply.close()
        return request

    def stop(self, run: str) -> bool:
        """Whether there is such a run. What was held back of it, and the counts, still come."""
        if run not in self._replies:
            return False
        reply = self._replies[run]
        if reply:
            reply.close()
        else:
            self._stopped.add(run)
        return True

    def end(self, run: str) -> None:
        """The reply is read to its end, or nobody reads it any more."""
        reply = self._replies.pop(run, None)
        self._stopped.discard(run)
        if reply:
            reply.close()
