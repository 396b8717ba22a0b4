"""What the two APIs share: the key, replies that are read on the event loop, and errors over HTTP.

Knows requests, replies and server-sent events; not what an answer looks like.
"""

import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TypeAlias

from anyio import to_thread
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from assistant.engine.protocol import Waiting
from assistant.errors import (
    AssistantError,
    EngineBusy,
    EngineDead,
    RequestError,
    SourcesBusy,
    WindowError,
)
from assistant.generation.generate import Delta, Done
from assistant.settings import Settings
from assistant.web.api.openai_schema import BAD_JSON, explain_invalid
from assistant.web.event_stream import EventStream
from assistant.web.gate.security import FAILED, ErrorWriters, Json, plain_error
from assistant.web.polling import Source, side_by_side

log = logging.getLogger(__name__)

RETRY_S = 1  # what a client that met a full waiting room is told to wait
GONE = 499  # nobody reads it: the client has left
CODES = {401: ("invalid_api_key", None), 404: ("model_not_found", "model")}  # (code, param)

Event: TypeAlias = Delta | Done
Replies: TypeAlias = Sequence[Source[Waiting | Delta | Done]]
Values: TypeAlias = Iterable[Json | str]  # that are sent for one event
Explanation: TypeAlias = tuple[int, str, str | None, str | None]  # status, sentence, code, param


def check_key(settings: Settings) -> Callable[[Request], Awaitable[None]]:
    """A dependency of routes: 401 for a request without the key, where one is asked for."""

    async def check(request: Request) -> None:
        if settings.api_key is None:
            if settings.auth is None:
                return
            raise HTTPException(
                401,
                "This server asks for a login, and programs need a key: start it with --api-key "
                "or --api-key-file.",
            )
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        given, right = key.strip().encode("latin-1"), settings.api_key.encode()
        if scheme.lower() != "bearer" or not secrets.compare_digest(given, right):
            raise HTTPException(
                401,
                "Send the API key of this server in the header Authorization: Bearer KEY.",
                {"WWW-Authenticate": "Bearer"},
            )

    return check


# Errors


def explain_error(error: Exception) -> Explanation:
    """Of whatever kept a request from its answer."""
    match error:
        case RequestValidationError():
            return 400, *explain_invalid(error.errors()[0])
        case StarletteHTTPException(status_code=400):  # FastAPI's own, of what no parser reads
            return 400, BAD_JSON, None, None
        case StarletteHTTPException():
            known = CODES.get(error.status_code, (None, None))
            return error.status_code, str(error.detail), *known
        case WindowError():
            return 400, str(error), "context_length_exceeded", None
        case RequestError():
            return 400, str(error), None, error.param
        case EngineBusy() | SourcesBusy():
            return 429, str(error), "rate_limit_exceeded", None
        case EngineDead():
            return 503, str(error), "engine_dead", None
        case AssistantError():
            return 503, str(error), None, None
    return 500, FAILED, None, None


def add_errors(
    app: FastAPI, errors: ErrorWriters, count_refusal: Callable[[Exception], None]
) -> None:
    """Let `app` answer with the errors that the clients of each API read. count_refusal: is called
    with each error of a request that cannot be done as it is."""

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, RequestError | RequestValidationError):
            count_refusal(error)
        status, sentence, code, param = explain_error(error)
        headers = dict(getattr(error, "headers", None) or {})
        if status == 429:
            headers.setdefault("Retry-After", str(RETRY_S))
        write = errors.get((request.method, request.scope["path"]), plain_error)
        status, body = write(status, sentence, code, param)
        return JSONResponse(body, status, headers)

    for kind in (AssistantError, RequestValidationError, StarletteHTTPException):
        app.add_exception_handler(kind, answer)


class OtherMethods:
    """An ASGI endpoint behind `route`, at its path: 405, which what is mounted below would not
    say."""

    def __init__(self, route: Route) -> None:
        self._allowed = ", ".join(sorted(route.methods or ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sentence = f"There is no {scope['method']} at this address; send {self._allowed}."
        raise HTTPException(405, sentence, {"Allow": self._allowed})


# Replies


async def read_replies(
    request: Request, start: Callable[[], Replies], take: Callable[[int, Event], object]
) -> bool:
    """Reads the replies that `start()`, called in a thread, gives, to their end: take(index, event)
    of each event. False where the client has left."""
    replies = await to_thread.run_sync(start)
    async with aclosing(_events(replies)) as events:
        async for item in events:
            if item:
                take(*item)
            elif await request.is_disconnected():
                return False
    return True


async def read_end(request: Request, start: Callable[[], Replies]) -> Done | None:
    """The end of the one reply that `start()` gives. None where the client has left."""
    ends: list[Done] = []

    def take(_: int, event: Event) -> None:
        if isinstance(event, Done):
            ends.append(event)

    return ends[0] if await read_replies(request, start, take) else None


async def _events(replies: Replies) -> AsyncGenerator[tuple[int, Event] | None, None]:
    """(index, event) of what `replies` give, and None now and then. Raises what one raises."""
    async with aclosing(side_by_side(replies)) as steps:
        async for news in steps:
            for index, event in news:
                if isinstance(event, Exception):
                    raise event
                if not isinstance(event, Waiting):
                    yield index, event
            yield None


def no_reader() -> Response:
    return Response(status_code=GONE)


class ReplyStream(EventStream):
    """Replies as server-sent events, which end the replies when the client leaves.

    write(index, event) gives the values to send for an event, JSON or text; before and after()
    those at the start and the end; write_error() those where it fails.
    """

    def __init__(
        self,
        replies: Replies,
        write: Callable[[int, Event], Values],
        *,
        before: Values = (),
        after: Callable[[], Values] = tuple,
        write_error: Callable[[Explanation], Values] = lambda why: [plain_error(*why)[1]],
    ) -> None:
        self._replies = replies
        self._request_id: str | None = None
        super().__init__(self._values(write, before, after, write_error), self._end)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._request_id = scope.get("request_id")
        await super().__call__(scope, receive, send)

    def _end(self) -> None:
        for reply in self._replies:
            reply.close()

    async def _values(
        self,
        write: Callable[[int, Event], Values],
        before: Values,
        after: Callable[[], Values],
        write_error: Callable[[Explanation], Values],
    ) -> AsyncGenerator[Json | str | None, None]:
        try:
            for value in before:
                yield value
            async with aclosing(_events(self._replies)) as events:
                async for item in events:
                    if item is None:
                        yield None
                    else:
                        for value in write(*item):
                            yield value
            for value in after():
                yield value
        except Exception as error:
            explanation = explain_error(error)
            if explanation[0] == 500:
                log.exception("the request %s failed", self._request_id)
            for value in write_error(explanation):
                yield value
