"""At most so many requests a minute from one client address: of those that make the model compute.

Knows routes and addresses, and which of the page's events write replies. It stands behind the Gate,
which has read the body by then.
"""

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Container
from ipaddress import ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

from assistant.web.gate.security import ErrorWriters, refuse, replay
from assistant.web.gradio_inside import read_call

CLIENTS_MAX = 10_000  # addresses that are remembered; the one seen longest ago is forgotten first
PAGE = "/gradio_api/queue/join"
PATHS = re.compile(
    r"/|/page/(?:chat|again|complete|inspect)|/overlap|/v1/.+|/generate(?:_stream)?"
    r"|/infill|/completion"
    rf"|/gradio_api/call/.+|{PAGE}"
)


class PerMinute:
    """A quiet client may ask `limit` times at once, and from then on once every 60 / `limit`
    seconds. clock: seconds."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.clock = limit, clock
        # client: when it may ask `limit` times at once again
        self._rested: OrderedDict[str, float] = OrderedDict()

    def wait(self, client: str, count: bool = True) -> float:
        """Seconds until `client` may ask; 0 when it may now, and then that counts, unless told
        otherwise."""
        now, every = self.clock(), 60 / self.limit
        rested = max(self._rested.pop(client, now), now)
        wait = rested + every - now - 60
        allowed = wait <= 1e-6
        self._rested[client] = rested + every if count and allowed else rested
        if len(self._rested) > CLIENTS_MAX:
            self._rested.popitem(last=False)
        return 0 if allowed else wait


class Limit:
    """ASGI middleware: 429 with Retry-After for a client that asks more often than `limit` times a
    minute. free: the numbers of the page's events that write no reply. known: the sessions of open
    pages; the first event of a new one counts whatever it is."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit: int,
        free: Container[int | None],
        known: Container[str | None],
        errors: ErrorWriters,
    ) -> None:
        self.app, self.errors, self.limit = app, errors, PerMinute(limit)
        self.free, self.known = free, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        path = scope["path"]
        if PATHS.fullmatch(path):
            message = await receive()  # the Gate gives the whole body at once
            if message["type"] != "http.request":
                return None
            receive = replay(message["body"], receive)
            number, session = read_call(message["body"]) if path == PAGE else (None, None)
            if number not in self.free or session not in self.known:
                wait = math.ceil(self.limit.wait(address(scope)))
                if wait:
                    sentence = (
                        f"You may send {self.limit.limit} requests a minute to this server; wait "
                        f"{wait} seconds before the next one."
                    )
                    return await refuse(scope, send, self.errors, 429, sentence, wait)
        await self.app(scope, receive, send)


def address(scope: Scope) -> str:
    """Who asks, as text: an IPv4 address, or the network of an IPv6 one, which has them all to
    itself."""
    host = (scope.get("client") or ("",))[0]
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]  # a proxy's word
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ip) if ip.version == 4 else str(ip_network((ip, 64), strict=False))
