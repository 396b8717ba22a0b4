"""answering(): while the model loads, the port says so: 503, to a browser as a page that looks
again by itself.

Knows the socket, and nothing of what will be served on it; imports nothing heavy.
"""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SENTENCE = "The model is being loaded; try again in a few seconds."
RETRY_S = 3
PATIENCE_S = 5  # for a slow client
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
def answering(sock):
    """Answer who comes to the listening socket until the block is left. Who comes later waits for
    the server that takes over: nobody is turned away in between."""
    server = ThreadingHTTPServer(sock.getsockname(), _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = sock
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_S

    def handle(self):
        with contextlib.suppress(ConnectionError):  # who breaks off wants no answer
            super().handle()

    def do_GET(self):
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

    def log_message(self, *_):
        pass
