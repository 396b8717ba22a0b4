"""How much a request's JSON may hold, counted before a parser makes values of it.

Half a million empty lists fit into the bytes that the Gate lets pass; while they are made, looked
at one by one and thrown away the event loop stands still. Knows JSON, not what it means.
"""

import json

from starlette.types import ASGIApp, Receive, Scope, Send

from assistant.web.gate.security import ErrorWriters, refuse, replay

PARTS_MAX = 20_000  # 1,000 turns, the most that a conversation may have, have up to 8,000
LISTS = b"[{"  # what opens a list or an object
VALUES = LISTS + b","  # Gradio looks at each value of a call


def count_parts(body: bytes, marks: bytes = LISTS) -> int:
    """How many of `marks` stand outside the strings of `body`; where there are few in all of it,
    those within too."""
    found = sum(map(body.count, marks))
    if found > PARTS_MAX and b"\0" not in body:  # NUL: UTF-16, whose strings look different
        quotes = body.replace(b"\\\\", b"").replace(b'\\"', b"")
        outside = b"".join(quotes.split(b'"')[::2])
        found = sum(map(outside.count, marks))
    return found


def read_json(text: object) -> object:
    """The value of a JSON text, which the page has put into another. Raises ValueError for what is
    none, or holds more than PARTS_MAX lists and objects."""
    if not isinstance(text, str) or count_parts(text.encode("utf-8", "surrogatepass")) > PARTS_MAX:
        raise ValueError("no text, or too much in it")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


class Parts:
    """ASGI middleware: 413 for a body of more than PARTS_MAX lists and objects, of a call of
    Gradio's values. It stands behind the Gate, which gives a body at once."""

    def __init__(self, app: ASGIApp, *, errors: ErrorWriters) -> None:
        self.app, self.errors = app, errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            message = await receive()
            if message["type"] != "http.request":
                return None
            body, call = message["body"], scope["path"].startswith("/gradio_api/")
            if (found := count_parts(body, VALUES if call else LISTS)) > PARTS_MAX:
                what = "values" if call else "lists and objects"
                sentence = f"A request may hold at most {PARTS_MAX:,} {what}, not {found:,}."
                return await refuse(scope, send, self.errors, 413, sentence)
            receive = replay(body, receive)
        await self.app(scope, receive, send)
