"""The pages of other sites that may use the APIs: what browsers ask beforehand, and are told.

Knows the Fetch standard's protocol (CORS): https://fetch.spec.whatwg.org/#http-cors-protocol
The page and Gradio are never open to others, whatever is allowed here.
"""

import re
from collections.abc import Collection

from starlette.types import Scope

from assistant.web.gate.paths import of_api

ANY = "*"
# What a page may send beside what browsers add: OpenAI's own clients tell much of themselves.
HEADERS = re.compile(
    r"accept|authorization|content-type|x-request-id|(?:x-stainless|openai)-[a-z-]{1,60}"
)
MAX_AGE_S = 7200  # for which a browser need not ask again; the most that Chromium takes
HEADERS_MAX = 2000  # characters of the list of headers that a browser asks for

Headers = list[tuple[bytes, bytes]]


class Origins:
    """allowed: origins as browsers send them, such as https://example.org; ANY for each of them
    but "null", which every sandboxed frame has."""

    def __init__(self, allowed: Collection[str]) -> None:
        self.allowed = frozenset(allowed)

    def allow(self, scope: Scope) -> bool:
        """Whether this request of another site's page may be served, or asked about."""
        origin = _header(scope, b"origin")
        known = origin in self.allowed or (ANY in self.allowed and origin not in ("", "null"))
        return known and of_api(scope, _asked_method(scope))

    def asked_before(self, scope: Scope) -> bool:
        """Whether this is the question that a browser asks before it sends a request."""
        return _asked_method(scope) is not None and self.allow(scope)

    def headers(self, scope: Scope) -> Headers:
        """What an answer tells the browser."""
        if not self.allowed or not of_api(scope, _asked_method(scope)):
            return []
        vary = [(b"vary", b"Origin")]  # a cache must not give one site's answer to another
        if not self.allow(scope):
            return vary
        headers = [
            *vary,
            (b"access-control-allow-origin", _header(scope, b"origin").encode("latin-1")),
            (b"access-control-expose-headers", b"Retry-After, X-Request-ID"),
        ]
        if _asked_method(scope) is None:
            return headers
        wanted = _header(scope, b"access-control-request-headers")[:HEADERS_MAX].lower().split(",")
        names = [name for each in wanted if HEADERS.fullmatch(name := each.strip())]
        return [
            *headers,
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", ", ".join(names).encode("latin-1")),
            (b"access-control-max-age", b"%d" % MAX_AGE_S),
        ]


def _asked_method(scope: Scope) -> str | None:
    """The method that a browser asks for; None where it does not ask."""
    method = _header(scope, b"access-control-request-method")
    return method if method and scope["method"] == "OPTIONS" else None


def _header(scope: Scope, name: bytes) -> str:
    return dict(scope["headers"]).get(name, b"").decode("latin-1")
