"""What Gradio keeps of each visitor, within bounds: the state of a page, and results that wait to
be fetched. Gradio itself keeps both for whoever comes, for ever.

Like gradio_inside this knows Gradio's inside, and no other room.
"""

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any
from urllib.parse import parse_qs, unquote

# Read when Blocks are made: of each event that was, the name of its session.
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"

import gradio as gr  # noqa: E402
from gradio import queueing, state_holder  # noqa: E402
from gradio.routes import App  # noqa: E402
from gradio.state_holder import SessionState, StateHolder  # noqa: E402
from starlette.types import ASGIApp, Receive, Scope, Send  # noqa: E402

UNREAD_S = 15  # for so many seconds results wait for a reader, and a state for its page
CLOSED_S = 3600  # so long after its page was closed a state does, and after each use from then on:
# a page whose connection broke is open still, and tells no more that it is
UNREAD_MAX = 300  # sessions whose results have no reader
BYTES_MAX = 8 << 20  # of one session's results that were not fetched
ALL_BYTES_MAX = 64 << 20  # of all of them
NAME_MAX = 80  # characters of a session's name, which its page makes up

CALLS = re.compile(r"/gradio_api/(?:queue/join|call/.+)")
PAGE = re.compile(r"/gradio_api/heartbeat/([^/]+)")
RESULT = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/([^/]+)")
RESULTS = "/gradio_api/queue/data"


def size(value: object, depth: int = 8) -> int:
    """About how many bytes a result holds."""
    if isinstance(value, str):
        return len(value)
    if not depth:
        return 0
    if isinstance(value, dict):
        return sum(size(each, depth - 1) for each in value.values())
    if isinstance(value, list | tuple):
        return sum(size(each, depth - 1) for each in value)
    return 8


class Mailbox(asyncio.Queue[Any]):
    """A session's results that were not fetched, which knows their size. held: in bytes."""

    held = 0

    def _put(self, item: Any) -> None:
        self.held += size(getattr(item, "output", None))
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.held -= size(getattr(item, "output", None))
        return item


class Mailboxes(dict[str, Mailbox]):
    """Of all sessions. Gradio's own lets the oldest go, whoever reads it."""

    def __delitem__(self, session: str) -> None:
        self.pop(session, None)  # it may have been dropped


class State(SessionState):
    """Without a copy of the page's configuration, for links to a page as it stands: 0.4 MB and
    40 ms of computing for each visitor. No such links are made here."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self.blocks_config = copy(blocks.default_config)
        self.config_values: dict[int, Any] = {}
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False

    def __setitem__(self, key: int, value: Any) -> None:
        block = self.blocks_config.blocks.get(key)
        if isinstance(block, gr.State):
            self.state_data[key] = value
        else:
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


# What Gradio makes for a session. There is no hook.
queueing.AsyncQueue = Mailbox  # type: ignore[misc]
state_holder.SessionState = State  # type: ignore[misc]


class Sessions(StateHolder):
    """In the place of Gradio's holder of states. clock: seconds."""

    def __init__(self, page: gr.Blocks, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.clock = clock
        self.readers: Counter[str] = Counter()  # open streams of results
        self.pages: Counter[str] = Counter()  # open pages
        self._alone: dict[str, float] = {}  # since when the results of a session have no reader
        self._left: dict[str, float] = {}  # when a session's state is forgotten
        self._paged: dict[str, None] = {}  # the sessions that had a page
        self.set_blocks(page)
        self._boxes, self._queue = Mailboxes(), page._queue
        self._queue.pending_messages_per_session = self._boxes  # type: ignore[assignment]

    def __getitem__(self, session_id: str) -> SessionState:
        if len(session_id) > NAME_MAX:
            raise KeyError("the name of a session is too long")
        self._left.pop(session_id, None)
        return super().__getitem__(session_id)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self.session_data

    def update(self, session_id: str) -> None:
        """The session was used. Where there are too many, one without a page leaves, or that which
        was used longest ago."""
        if session_id in self.session_data:
            self.session_data.move_to_end(session_id)
        if len(self.session_data) > self.capacity:
            waits = (name for name in self.session_data if not self.listens(name))
            self.forget(next((name for name in waits if name != session_id), None)
                        or next(iter(self.session_data)))  # fmt: skip

    def listens(self, session: str) -> bool:
        return self.pages[session] > 0 or self.readers[session] > 0

    def forget(self, session: str) -> None:
        self.session_data.pop(session, None)
        self.time_last_used.pop(session, None)
        self._left.pop(session, None)
        self._paged.pop(session, None)

    def delete_all_expired_state(self) -> None:
        """Gradio calls this every second, on the event loop."""
        now = self.clock()
        self._left = {
            session: self._left.get(
                session, now + (CLOSED_S if session in self._paged else UNREAD_S)
            )
            for session in {*self.session_data, *self._paged}
            if not self.listens(session)
        }
        for session, end in list(self._left.items()):
            if now > end:
                self.forget(session)
        boxes, pending = self._boxes, self._queue.pending_event_ids_session
        alone = {session for session in boxes if not self.readers[session]}
        for session in [session for session in alone if not pending.get(session)]:
            self.drop(session)  # as a stream leaves it that was read to its end
            alone.remove(session)
        self._alone = {session: self._alone.get(session, now) for session in alone}
        for session, since in list(self._alone.items()):
            if now - since > UNREAD_S:
                self.drop(session)
        held = 0
        for held_here, session in sorted((box.held, name) for name, box in boxes.items()):
            held += held_here
            if held_here > BYTES_MAX or held > ALL_BYTES_MAX:
                self.drop(session)

    def make_room(self) -> None:
        """For one that comes: of those whose results have no reader, the oldest leave."""
        waiting = [session for session in self._boxes if not self.readers[session]]
        for session in waiting[: max(0, len(waiting) + 1 - UNREAD_MAX)]:
            self.drop(session)

    def drop(self, session: str) -> None:
        """Forget what waits for this session, and end what still computes for it."""
        for event in self._queue.event_ids_to_events.values():
            if event.session_hash == session:
                event.alive = False
        self._boxes.pop(session, None)
        self._queue.pending_event_ids_session.pop(session, None)

    def session_of(self, event: str) -> str:
        """That of an event, or of one that has ended."""
        if known := self._queue.event_ids_to_events.get(event):
            return str(known.session_hash)
        pending: Iterable[tuple[str, set[str]]] = self._queue.pending_event_ids_session.items()
        return next((session for session, events in pending if event in events), event)

    def left(self, session: str) -> None:
        """A page was closed, or its connection broke."""
        if len(session) > NAME_MAX:
            return
        self._paged.pop(session, None)
        if len(self._paged) >= self.capacity:
            self._paged.pop(next(iter(self._paged)))
        self._paged[session] = None
        self._left[session] = self.clock() + CLOSED_S


def keep_sessions(page: gr.Blocks, app: App) -> Sessions:
    """Keep the sessions of `page`, which `app` serves, in a Sessions, which is given back."""
    app.state_holder = Sessions(page)
    return app.state_holder


class Listening:
    """ASGI middleware that tells a Sessions who reads."""

    def __init__(self, app: ASGIApp, *, sessions: Sessions) -> None:
        self.app, self.sessions = app, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/gradio_api/"):
            return await self.app(scope, receive, send)
        if scope["method"] == "POST":
            if CALLS.fullmatch(scope["path"]):
                self.sessions.make_room()
            return await self.app(scope, receive, send)
        session, page = None, PAGE.fullmatch(scope["path"])
        counter = self.sessions.pages if page else self.sessions.readers
        if page:
            session = page[1]
        elif scope["path"] == RESULTS:
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
            session = query.get("session_hash", [""])[0]
        elif result := RESULT.fullmatch(scope["path"]):
            session = self.sessions.session_of(unquote(result[1]))
        if not session:
            return await self.app(scope, receive, send)
        counter[session] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            counter[session] -= 1
            if not counter[session]:
                del counter[session]
                if page:
                    self.sessions.left(session)
