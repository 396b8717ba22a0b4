"""Writing: one reply at a time of an open page, from the moment it is asked for to its end.

Knows runs, their failures and how they are stopped; nothing of what is shown.
"""

import logging
from contextlib import aclosing
from dataclasses import dataclass

from anyio import to_thread

from assistant.errors import AssistantError
from assistant.generation.reply import Reply
from assistant.web.follow import follow

log = logging.getLogger(__name__)

BUSY = "A reply is being written; stop it first."
INTERNAL = "Something went wrong inside the server; its log says more. Try again."


@dataclass(eq=False, slots=True)
class Run:
    """A reply that is being written: its text so far. It can be stopped before it has begun; what
    was held back, and the counts, still come after a stop."""

    text: str = ""
    reply: Reply | None = None
    stopped: bool = False

    def begin(self, reply):
        self.reply = reply
        if self.stopped:
            reply.close()

    def stop(self):
        self.stopped = True
        if self.reply is not None:
            self.reply.close()


class Session:
    """What the server keeps for one open page. run: the reply being written."""

    def __init__(self):
        self.run = None


class Writing:
    """asked: what was asked for, once it is accepted; its `reply` is what is followed. done: the
    last event. failure: the sentence that tells why there is no reply, or no more of it."""

    def __init__(self, session):
        self.session = session
        self.asked, self.done, self.failure = None, None, None

    async def steps(self, ask):
        """None once the reply that `ask()` asks for is accepted, then its Steps. ask is called in a
        thread; what it raises, and what the reply raises, is `failure` afterwards."""
        session = self.session
        if session.run:
            self.failure = BUSY
            return
        run = session.run = Run()
        try:
            self.asked = await to_thread.run_sync(ask)
            run.begin(self.asked.reply)
            yield None
            async with aclosing(follow(self.asked.reply)) as steps:
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
            if self.asked is not None:
                self.asked.reply.close()  # a page can be closed before its reply is followed

    @property
    def finish(self):
        """The finish reason of the reply."""
        if self.done:
            return self.done.reason
        return "error" if self.failure else "cancelled"
