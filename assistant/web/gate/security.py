"""What stands before every route: names, origins, paths, sizes and headers.

Pure ASGI, so that streams pass untouched. Knows HTTP; knows nothing of chats or models.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.web.gate.hosts import PORTS, Hosts
from assistant.web.gate.origins import Origins
from assistant.web.gate.paths import (
    BEHIND_LOGIN,
    CALL_PATHS,
    LOGIN_PATHS,
    OF_PAGE,
    OPEN_PATHS,
    as_meant,
    of_api,
)

log = logging.getLogger(__name__)

BODY_S = 30  # seconds for a request's body to come
BODY_MAX = (
    1 << 20
)  # bytes; the longest message is 100,000 characters, a whole window far below this
DRAIN_MAX = (
    64 << 20
)  # bytes of a refused body that are read on, so that its sender hears the answer

HUB_FRAMES = " https://huggingface.co https://*.hf.space"  # what frames the page on a Space

CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'none'; "
    "frame-ancestors 'self'"
)

BAD_CALL = (
    "No function of this server can be called like this; /gradio_api/info lists the functions and "
    "their parameters."
)
FAILED = "Something went wrong inside the server; its log says more."

Json: TypeAlias = dict[str, Any]
Refusal: TypeAlias = tuple[int, str]  # status and sentence


class ErrorWriter(Protocol):
    """(status, body) of an error as the clients of one API read it."""

    def __call__(
        self, status: int, sentence: str, code: str | None = None, param: str | None = None
    ) -> tuple[int, Json]: ...


# By (method, path); plain_error is that of all others.
ErrorWriters: TypeAlias = Mapping[tuple[str, str], ErrorWriter]


class Gate:
    """ASGI middleware: refuses what is not for us, caps bodies, sets the security headers, and
    gives a failure's answer as a sentence.

    origins: the pages of other sites that may use the APIs. root_path: the prefix of a reverse
    proxy; requests may come with it or without. logged_in: tells from the cookies' header whether
    a visitor has logged in; None where no login is asked.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Hosts,
        origins: Origins,
        errors: ErrorWriters,
        root_path: str = "",
        framed_by_hub: bool = False,
        logged_in: Callable[[str], bool] | None = None,
    ) -> None:
        self.app = app
        self.hosts, self.origins, self.errors = hosts, origins, errors
        self.root_path = root_path
        self.logged_in = logged_in
        self.headers = [
            (b"content-security-policy", (CSP + (HUB_FRAMES if framed_by_hub else "")).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1000})

        scope = as_meant(self._without_prefix(scope))
        headers = [*self.headers, *self.origins.headers(scope)]
        names = {name for name, _ in self.headers}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Gradio's own access-control headers would let pages of other sites read answers.
                kept = [
                    (name, value)
                    for name, value in message["headers"]
                    if name.lower() not in names and not name.lower().startswith(b"access-control-")
                ]
                message = {**message, "headers": kept + headers}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None and self.origins.asked_before(scope):
            return await send_nothing(send_with_headers)
        if refusal is None and scope["method"] not in ("GET", "HEAD"):
            try:
                async with asyncio.timeout(BODY_S):
                    body = await _read_body(receive)
            except TimeoutError:
                refusal = 408, f"A request must be whole within {BODY_S} seconds; this one was not."
            else:
                if body is None:
                    return
                if len(body) > BODY_MAX:
                    refusal = (
                        413,
                        f"A request may have at most {BODY_MAX} bytes; this one has more.",
                    )
                receive = replay(body, receive)
        if refusal is None:
            scope = {**scope, "headers": self._trusted_headers(scope)}
            refusal = await self._pass_on(scope, receive, send_with_headers)
        if refusal is not None:
            await refuse(scope, send_with_headers, self.errors, *refusal)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> Refusal | None:
        """Let the app answer. Where it fails before its answer has begun: a refusal instead."""
        begun = failed = False

        async def send_if_whole(message: Message) -> None:
            nonlocal begun, failed
            if message["type"] == "http.response.start":
                failed = message["status"] == 500  # Gradio says so, and raises afterwards
                begun = not failed
            if begun:
                await send(message)

        try:
            await self.app(scope, receive, send_if_whole)
        except Exception as error:
            if begun:
                raise
            if scope["method"] == "POST" and CALL_PATHS.fullmatch(scope["path"]):
                log.warning("a call was refused: %s", type(error).__name__)
                return 400, BAD_CALL
            log.exception("the request %s failed", scope.get("request_id"))
            return 500, FAILED
        return (500, FAILED) if failed else None

    def _without_prefix(self, scope: Scope) -> Scope:
        path = scope["path"]
        if self.root_path and (path + "/").startswith(self.root_path + "/"):
            path = path[len(self.root_path) :] or "/"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        return scope

    def _trusted_headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """The headers without those that would have Gradio write another server's address into the
        page: X-Gradio-Server, and X-Forwarded-Host unless it names a page of ours. What the APIs
        get is JSON, whatever a client calls it."""
        host = dict(scope["headers"])[b"host"].decode("latin-1")

        def ours(value: bytes) -> bool:
            name = value.decode("latin-1").partition(",")[0].strip()
            pages = (f"{scheme}://{name}" for scheme in PORTS)
            return any(self.hosts.own(page, host, scope["scheme"]) for page in pages)

        kept = [
            (name, value)
            for name, value in scope["headers"]
            if name != b"x-gradio-server" and (name != b"x-forwarded-host" or ours(value))
        ]
        if scope["method"] == "POST" and of_api(scope):
            kept = [(name, value) for name, value in kept if name != b"content-type"]
            kept.append((b"content-type", b"application/json"))
        return kept

    def _refusal(self, scope: Scope) -> Refusal | None:
        """Why this request is not served."""
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        host = headers.get("host", b"").decode("latin-1")
        if not self.hosts.allow(host, (scope.get("server") or ("",))[0]):
            return 400, "This server does not answer to that name; --allow-host NAME adds one."
        origin = headers.get("origin")
        if (
            origin is not None
            and scope["method"] not in ("GET", "HEAD")
            and not self.hosts.own(origin.decode("latin-1"), host, scope["scheme"])
            and not self.origins.allow(scope)
        ):
            return 403, "Pages of other sites may not send requests to this server."
        path = scope["path"]
        if scope["method"] == "POST" and OF_PAGE.fullmatch(path):
            kind = headers.get("content-type", b"").partition(b";")[0].strip().lower()
            if origin is None:
                return 403, "This address is for the scripts of this server's own page."
            if kind != b"application/json":
                return 415, "This address takes application/json."
        known = OPEN_PATHS.fullmatch(path) or (self.logged_in and path in LOGIN_PATHS)
        if not known and not self.origins.asked_before(scope):  # else none could read the 404
            return 404, "There is nothing at this address."
        if self.logged_in and BEHIND_LOGIN.fullmatch(path):
            cookies = headers.get("cookie", b"").decode("latin-1")
            if not self.logged_in(cookies):
                return 401, "Log in first."
        return None


async def _read_body(receive: Receive) -> bytes | None:
    """The body, or of a longer one more than BODY_MAX bytes; None where the client has left."""
    body, size = bytearray(), 0
    while size <= DRAIN_MAX:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if len(body) <= BODY_MAX:
            body += chunk
        if not message.get("more_body"):
            break
    return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` once, then what the connection brings (its end)."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def send_nothing(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def refuse(
    scope: Scope,
    send: Send,
    errors: ErrorWriters,
    status: int,
    sentence: str,
    retry_s: int | None = None,
) -> None:
    """Answer with a sentence. retry_s: seconds until it is worth asking again."""
    write = errors.get((scope["method"], scope["path"]), plain_error)
    status, value = write(status, sentence)
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if retry_s is not None:
        headers.append((b"retry-after", b"%d" % retry_s))
    if status == 408:  # what is left of the request may come for ever
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def plain_error(
    status: int, sentence: str, code: str | None = None, param: str | None = None
) -> tuple[int, Json]:
    """(status, body) of an error as the clients of OpenAI's API and, under "detail", those of
    Gradio read it."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    error = {"message": sentence, "type": kind, "param": param, "code": code}
    return status, {"error": error, "detail": sentence}
