"""answering(): while the model loads, the port says so: 503, to a browser as a page that looks
again by itself.

Knows the socket, and nothing of what will be served on it; imports nothing heavy.
"""

import contextlib
import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SENTENCE = "The model is being loaded; try again in a few seconds."
RETRY_S = 3
PATIENCE_S = 5  # for a client, in all
OPEN_MAX = 32  # connections, and threads; the oldest makes room for a new one
DRAIN_MAX = 1 << 20  # bytes of a request's body that are read, so that its sender hears the answer
PAGE = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{RETRY_S}">
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>Loading</title></head>
<body style="font: 1.1rem system-ui, sans-serif; margin: 20vh auto; max-width: 30rem">
<p role="status">The model is being loaded; this page opens by itself.</p></body></html>
"""
ERROR = {"message": SENTENCE, "type": "server_error", "param": None, "code": "loading"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"


@contextlib.contextmanager
def answering(sock: socket.socket) -> Iterator[None]:
    """Answer who comes to the listening socket until the block is left. Who comes later waits for
    the server that takes over: nobody is turned away in between."""
    server = _Server(sock)

    def serve() -> None:
        server.serve_forever(0.05)
        time.sleep(PATIENCE_S)
        server.drop_before(math.inf)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()  # waits until nobody is let in any more


class _Server(ThreadingHTTPServer):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self._open: dict[socket.socket, float] = {}  # connection: when it came, the oldest first
        self._places = threading.BoundedSemaphore(OPEN_MAX)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.drop_before(min(self._open.values(), default=0))
            self._places.acquire()
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)
        self._places.release()

    def service_actions(self) -> None:  # twenty times a second
        self.drop_before(time.monotonic() - PATIENCE_S)

    def drop_before(self, moment: float) -> None:
        """End the connections that came at `moment` or before: their threads read an end."""
        for request, came in list(self._open.items()):
            if came <= moment:
                with contextlib.suppress(OSError):  # it has ended by itself
                    request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # who breaks off wants no answer
            super().handle()

    def do_GET(self) -> None:
        length = self.headers.get("content-length", "")
        if length.isdecimal():
            self.rfile.read(min(int(length[:9]), DRAIN_MAX))  # int() takes no endless number
        page = "text/html" in self.headers.get("accept", "")
        body = (PAGE if page else json.dumps({"detail": SENTENCE, "error": ERROR})).encode()
        self.send_response_only(503)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8" if page else "application/json"),
            ("Content-Length", len(body)),
            ("Retry-After", RETRY_S),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ):
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_OPTIONS = do_GET

    def log_message(self, *_: Any) -> None:
        pass
