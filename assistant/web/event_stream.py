"""EventStream: an answer of server-sent events. Knows nothing of what they tell."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

QUIET_S = 5  # of a stream, until a comment tells that it waits: silence is taken for an end


class EventStream(StreamingResponse):
    """Sends each text, and each other value as JSON, that `values` gives. None, which it must give
    now and then, sends nothing, but lets a client that has left end the stream. close() is called
    at the end, also of an answer that never began."""

    def __init__(self, values: AsyncGenerator[Any, None], close: Callable[[], object]) -> None:
        self._close = close
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_lines(values), media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


async def _lines(values: AsyncGenerator[Any, None]) -> AsyncGenerator[str, None]:
    clock = asyncio.get_running_loop().time
    last = clock()
    yield ""  # the headers go out at once
    async with aclosing(values):
        async for value in values:
            if value is not None:
                text = value if isinstance(value, str) else _json(value)
                yield f"data: {text}\n\n"
                last = clock()
            elif clock() - last >= QUIET_S:
                yield ": waiting\n\n"
                last = clock()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
