"""A name for every request, and with --access-log a line of JSON about it.

Stands before all else, so that refused requests are in the log too. Knows HTTP's outside only:
nothing of a query, a header, a cookie or a body is ever written.
"""

import datetime
import json
import logging
import re
import secrets
import sys
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

GIVEN_ID = re.compile(rb"[A-Za-z0-9-]{1,64}")
PATH_MAX = 200  # characters of a path in the log
# Whoever knows a page's session or an event's number can listen to it.
SECRET = re.compile(r"(/gradio_api/(?:heartbeat|call/(?:v2/)?[^/]+))/.+", re.S)


class Access:
    """ASGI middleware: X-Request-ID, the client's own if it is a plain word, on every answer, and
    in the scope as "request_id". write: whether each request leaves a line in the log."""

    def __init__(self, app: ASGIApp, *, write: bool) -> None:
        self.app, self.write = app, write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        name = given if GIVEN_ID.fullmatch(given) else secrets.token_hex(8).encode()
        scope = {**scope, "request_id": name.decode()}
        begun, size = time.perf_counter(), 0
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [(key, value) for key, value in message["headers"]
                           if key.lower() != b"x-request-id"]  # fmt: skip
                message = {**message, "headers": [*headers, (b"x-request-id", name)]}
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            if self.write:
                log.info("%s", _line(scope, status, time.perf_counter() - begun, size))


def _line(scope: Scope, status: int | None, seconds: float, size: int) -> str:
    now = datetime.datetime.now(datetime.UTC)
    return json.dumps(
        {
            "time": now.isoformat(timespec="milliseconds"),
            "id": scope["request_id"],
            "client": (scope.get("client") or ("",))[0][:64],
            "method": scope["method"],
            "path": SECRET.sub(r"\1/...", scope["path"])[:PATH_MAX],
            "status": status,
            "ms": round(1000 * seconds, 1),
            "bytes": size,
        }
    )


def write_to_stdout() -> None:
    """Let the lines go to stdout, and nowhere else."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
