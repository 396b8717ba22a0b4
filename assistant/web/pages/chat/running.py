"""ReplyRun: one reply at a time of an open page, from the moment it is asked for to its end.

Knows runs, their failures and how they are stopped; nothing of what is shown.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Generic, Protocol, TypeVar

from anyio import to_thread

from assistant.errors import AssistantError
from assistant.generation.generate import Done
from assistant.generation.reply import Reply
from assistant.web.follow import Step, follow

log = logging.getLogger(__name__)

BUSY = "A reply is being written; stop it first."
INTERNAL = "Something went wrong inside the server; its log says more. Try again."


class HasReply(Protocol):
    """What asking for a reply gives."""

    @property
    def reply(self) -> Reply: ...


Request = TypeVar("Request", bound=HasReply)


class Session:
    """What the server keeps for one open page. run: the reply being written."""

    def __init__(self) -> None:
        self.run: ReplyRun[Any] | None = None


class ReplyRun(Generic[Request]):
    """request: what was asked for, there once it is accepted; its `reply` is what is followed.
    done: the last event. failure: the sentence that tells why there is no reply, or no more of
    it."""

    request: Request

    def __init__(self, session: Session) -> None:
        self.session = session
        self.accepted = False
        self.done: Done | None = None
        self.failure: str | None = None
        self._stopped = False

    async def steps(self, ask: Callable[[], Request]) -> AsyncGenerator[Step | None, None]:
        """None once the reply that `ask()` asks for is accepted, then its Steps. ask is called in a
        thread; what it raises, and what the reply raises, is `failure` afterwards."""
        session = self.session
        if session.run:
            self.failure = BUSY
            return
        session.run = self
        try:
            self.request = await to_thread.run_sync(ask)
            self.accepted = True
            if self._stopped:
                self.request.reply.close()
            yield None
            async with aclosing(follow(self.request.reply)) as steps:
                async for step in steps:
                    self.done = step.done
                    yield step
        except AssistantError as error:
            self.failure = str(error)
        except Exception:
            log.exception("a reply failed")
            self.failure = INTERNAL
        finally:
            session.run = None
            if self.accepted:
                self.request.reply.close()  # a page can be closed before its reply is followed

    def stop(self) -> None:
        """It can be stopped before it has begun; what was held back, and the counts, still come."""
        self._stopped = True
        if self.accepted:
            self.request.reply.close()

    @property
    def finish(self) -> str:
        """The finish reason of the reply."""
        if self.done:
            return self.done.reason
        return "error" if self.failure else "cancelled"
