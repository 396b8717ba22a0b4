"""Connections: how many there may be at once, and how long each may keep the server waiting.

uvicorn has a deadline for a client that is idle between two requests. It has none for a request
that never ends, nor for an answer that nobody takes, and each connection holds a descriptor.
"""

import heapq
import logging
from asyncio import AbstractEventLoop, Transport
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http import h11_impl
from uvicorn.protocols.http.h11_impl import H11Protocol

from assistant.web.gate.security import BODY_S, refuse
from assistant.web.gate.writing import handle_loop_failure

log = logging.getLogger(__name__)

FULL = "The server has as many connections as it takes; try again in a few seconds."
RETRY_S = 5
PLACES_MAX = 1000  # two connections for each open page of which the server keeps the state
QUIET_S = 60  # between two lines of the log about sockets that fail

# What a client is waited for: the head of a further request, of the first one, a body, and that it
# takes 64 kB of an answer; and for how many seconds. Of a body the Gate says so first.
NEXT, HEAD, BODY, TAKE = range(4)
PATIENCE_S = (10, 10, BODY_S + 5, 60)
Wait: TypeAlias = tuple[int, object]  # for what, and a mark that changes when it moves on


def places() -> int:
    """How many connections there may be: half of the process's descriptors, so that files and other
    servers have the rest; at most PLACES_MAX."""
    try:
        import resource
    except ImportError:  # Windows
        return PLACES_MAX
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2, PLACES_MAX)


async def refuse_connection(scope: Scope, receive: Receive, send: Send) -> None:
    """What uvicorn serves in place of the app to who finds no place."""

    async def closing(message: Message) -> None:
        if "headers" in message:  # who stays keeps the place that it did not get
            message["headers"].append((b"connection", b"close"))
        await send(message)

    await refuse(scope, closing, {}, 503, FULL, RETRY_S)


# uvicorn's own is bare text.
h11_impl.service_unavailable = refuse_connection  # type: ignore[assignment]  # no hook


class Connection(H11Protocol):
    """uvicorn's protocol, which knows how long it has waited for its client. Where there are as
    many as limit_concurrency, those that keep the server waiting make room for a new one: who is
    between two requests, then who was waited for longest. Where none does, and one address has more
    than half of the places, its oldest connection ends; else the answer is 503."""

    limit_concurrency: int

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(transport)
        self._taken = 0
        self.waited_for: Wait | None = (HEAD, None)
        self.came = self.since = self.loop.time()
        if len(self.connections) >= self.limit_concurrency:
            self._make_room()

    def _others(self) -> set["Connection"]:
        return cast(set[Connection], self.connections) - {self}

    def _make_room(self) -> None:
        now, waiting = self.loop.time(), []
        for connection in self._others():
            if waits := connection.waits_for():
                since = connection.since if connection.waited_for else now  # or served till now
                waiting.append((waits[0] != NEXT, since, id(connection), connection))
        # Several at once: in a flood, looking at them all for each newcomer would take too long.
        for *_, connection in heapq.nsmallest(1 + len(waiting) // 16, waiting):
            connection.drop()
        if not waiting:
            self._end_one_of_many()

    def _end_one_of_many(self) -> None:
        of_each: dict[str, list[Connection]] = defaultdict(list)
        for connection in self._others():
            of_each[connection.client[0] if connection.client else ""].append(connection)
        most = max(of_each.values(), key=len)
        if len(most) > self.limit_concurrency // 2:
            min(most, key=lambda connection: connection.came).drop()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken += 1

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # what is no request comes behind one that is being answered
            self.drop()

    def waits_for(self) -> Wait | None:
        """What the client is waited for; None while it waits for the server."""
        if self.transport.get_write_buffer_size():
            return TAKE, self._taken
        if self.conn.their_state is h11.IDLE:
            return NEXT if self.cycle else HEAD, self.cycle
        if self.conn.their_state is h11.SEND_BODY:
            return BODY, self.cycle
        return None

    def drop(self) -> None:
        self.connections.discard(self)
        self.transport.abort()


def drop_late(connections: Iterable[Connection], now: float) -> None:
    """End the connections whose client was waited for too long; to be called about twice a second.
    now: seconds, of the event loop."""
    for connection in list(connections):
        waits = connection.waits_for()
        if waits != connection.waited_for:
            connection.waited_for, connection.since = waits, now
        elif waits and now - connection.since > PATIENCE_S[waits[0]]:
            connection.drop()


def quiet_handler() -> Callable[[AbstractEventLoop, dict[str, Any]], None]:
    """An event loop's exception handler: about sockets that fail the log gets one line in QUIET_S,
    where asyncio writes a traceback for each."""
    last_line: float | None = None

    def handle(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal last_line
        error = context.get("exception")
        if not isinstance(error, OSError) or context.keys().isdisjoint({"socket", "transport"}):
            handle_loop_failure(loop, context)
        elif last_line is None or loop.time() - last_line >= QUIET_S:
            last_line = loop.time()
            log.warning("a connection failed: %s", error.strerror or type(error).__name__)

    return handle
