"""At most so many requests a minute from one client address: of those that make the model compute.

Knows routes and addresses, and which of the page's events write replies. It stands behind the Gate,
which has read the body by then.
"""

import json
import math
import re
import time
from collections import OrderedDict
from ipaddress import ip_address, ip_network

from assistant.web.gate.security import refuse, replay

FREE = {"concurrency_id": "no reply", "concurrency_limit": None}
CLIENTS_MAX = 10_000  # addresses that are remembered; the one seen longest ago is forgotten first
PAGE = "/gradio_api/queue/join"
PATHS = re.compile(rf"/|/overlap|/v1/.+|/generate(?:_stream)?|/gradio_api/call/.+|{PAGE}")


class PerMinute:
    """A quiet client may ask `limit` times at once, and from then on once every 60 / `limit`
    seconds. clock: seconds."""

    def __init__(self, limit, clock=time.monotonic):
        self.limit, self.clock = limit, clock
        self._rested = OrderedDict()  # client: when it may ask `limit` times at once again

    def wait(self, client, count=True):
        """Seconds until `client` may ask; 0 when it may now, and then that counts, unless told
        otherwise."""
        now, every = self.clock(), 60 / self.limit
        rested = max(self._rested.pop(client, now), now)
        wait = rested + every - now - 60
        self._rested[client] = rested + every * (count and wait <= 1e-6)
        if len(self._rested) > CLIENTS_MAX:
            self._rested.popitem(last=False)
        return max(wait, 0) if wait > 1e-6 else 0


class Limit:
    """ASGI middleware: 429 with Retry-After for a client that asks more often than `limit` times a
    minute. free: the numbers of the page's events that write no reply. errors: as of
    security.refuse()."""

    def __init__(self, app, *, limit, free, errors):
        self.app, self.free, self.errors, self.limit = app, free, errors, PerMinute(limit)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        path = scope["path"]
        if PATHS.fullmatch(path):
            message = await receive()  # the Gate gives the whole body at once
            if message["type"] != "http.request":
                return None
            receive = replay(message["body"], receive)
            if path != PAGE or _event(message["body"]) not in self.free:
                wait = math.ceil(self.limit.wait(address(scope)))
                if wait:
                    sentence = (
                        f"You may send {self.limit.limit} requests a minute to this server; wait "
                        f"{wait} seconds before the next one."
                    )
                    return await refuse(scope, send, self.errors, 429, sentence, wait)
        await self.app(scope, receive, send)


def free_events(blocks):
    """The numbers of the events of Gradio's `blocks` that write no reply: only what writes one
    gives its values step by step, and what has the options FREE."""
    free = FREE["concurrency_id"]
    return frozenset(
        number
        for number, fn in blocks.fns.items()
        if not fn.types_generator or fn.concurrency_id == free
    )


def address(scope):
    """Who asks, as text: an IPv4 address, or the network of an IPv6 one, which has them all to
    itself."""
    host = (scope.get("client") or ("",))[0]
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]  # a proxy's word
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ip) if ip.version == 4 else str(ip_network((ip, 64), strict=False))


def _event(body):
    """The event's number in a request of the page; None where there is no such number."""
    try:
        number = json.loads(body)["fn_index"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return number if type(number) is int else None
