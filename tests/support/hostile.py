"""A program of its own that is walked over: all its routes and events, each with all that is odd.

    with Walked("--auth", "ada:lovelace") as walked:
        walked.send(requests(walked.url, walked.routes))

What is sent holds MARK everywhere; nothing that the program writes may hold it.
"""

import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from urllib.parse import quote, urlsplit

import httpx
import psutil

from assistant.chat.assistant import Assistant
from assistant.paths import ROOT
from assistant.settings import Settings
from assistant.web.app import build_app
from assistant.web.gate.security import FAILED
from tests.support.fake_engine import FakeEngine
from tests.support.server import TEMPLATE
from tests.support.waiting import until

WORD = "qzmark"
MARK = f"\x1b[31m{WORD}\u202e</script>"  # it would colour a terminal
TURN = {"role": "user", "content": MARK}
# A body that fits whatever a route takes, and holds few tokens to write
FITTING = {
    "prompt": MARK, "inputs": MARK, "messages": [TURN], "text": MARK, "document": MARK,
    "model": MARK, "user": MARK, "max_tokens": 2, "parameters": {"max_new_tokens": 2},
    "run": WORD + WORD, "turns": [TURN, {"role": "assistant", "content": MARK}],
    "settings": {"max_new_tokens": 2}, "begin": MARK, "to": "see", "receipt": {MARK: MARK},
    "replies": [{"text": MARK}], "segments": [[MARK, True]], "max_new_tokens": 2, "stop": [MARK],
    "name": MARK, "toml": MARK, "values": {MARK: MARK}, "sampling": {MARK: MARK},
}  # fmt: skip


def bodies():
    """(content type, body): one of each hostile kind."""

    def written(value):
        return "application/json", json.dumps(value).encode()

    yield written(FITTING)
    odd = (None, True, 1e308, -1, "9" * 5000, [MARK], [[MARK]], {MARK: MARK}, [None] * 300, "")
    for value in odd:
        yield written(dict.fromkeys(FITTING, value))
    yield written([FITTING])
    yield written(MARK)
    yield written({MARK: [MARK] * 300})
    yield written(FITTING | {"stop": [MARK] * 19_000, "turns": [MARK] * 5_000})
    yield written(FITTING | {"prompt": MARK * 20_000, "inputs": MARK * 20_000, "text": MARK})
    mark = MARK.encode()
    for raw in (
        b"", b"\xff" + mark, b'{"text": "' + mark, b"[" * 100_000 + mark, b'{"a":' * 5_000,
        b'{"text": NaN, "temperature": -Infinity, "max_tokens": 1e999, "prompt": "%s"}' % b"x",
        b'{"seed": ' + b"9" * 9_000 + b', "prompt": "' + WORD.encode() + b'"}',
        b'{"prompt": "\\ud83d", "inputs": "\\udc00", "text": "\\ud83d", "run": "\\ud83d1234567"}',
        b'{"prompt": "\\u0000", "inputs": "\\u0000", "model": "\\u0000", "text": "\\u0000"}',
        b"[" + b"0," * 400_000 + b"0]",
    ):  # fmt: skip
        yield "application/json", raw
    yield "text/plain", mark
    yield WORD + "/" + WORD, mark
    yield "application/x-www-form-urlencoded", b"username=" + mark + b"&password=" + mark
    for boundary, body in ((WORD, b"--" + mark), ("", b"--"), ("x", b'--x\r\nA: "' + mark)):
        yield f"multipart/form-data; boundary={boundary}", body
    yield "multipart/form-data", b"--" + mark


LONG = ("/completion", "/infill")  # which write until the window is full, unless told otherwise
LEFT_S = 2  # until their client leaves
METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", WORD.upper())


def routes():
    """(method, path) of all that the app answers, and of all that Gradio would."""
    app = build_app(Assistant(FakeEngine(), TEMPLATE), Settings(port=0, auth=("a", "b")))
    inner = app.state.gradio.routes
    inner = chain(
        inner, *(each.original_router.routes for each in inner if not hasattr(each, "path"))
    )
    for route in chain(app.routes, inner):
        path = re.sub(r"\{[^}]*\}", quote(MARK, safe=""), getattr(route, "path", "") or "/")
        for method in getattr(route, "methods", None) or ("GET",):
            yield method, path


def requests(url, paths):
    """Keyword arguments of httpx's request(): each of `paths` with each kind of body and method."""
    own = {"origin": url, "cookie": f"a={WORD}", "x-request-id": MARK.encode(), "user-agent": WORD}
    query = {"session_hash": WORD, "__theme": WORD, WORD: MARK}
    for path in sorted({path for _, path in paths}):
        left = {"timeout": LEFT_S} if path in LONG else {}
        for kind, body in bodies():
            headers = own | {"content-type": kind}
            yield {"method": "POST", "url": path, "content": body, "headers": headers, **left}
        for method in METHODS:
            yield {"method": method, "url": path, "params": query, "headers": own}
        for headers in ({"host": WORD}, {"origin": "http://" + WORD}, {"authorization": WORD}):
            headers = own | headers
            yield {"method": "POST", "url": path, "json": FITTING, "headers": headers, **left}


def events(http):
    """As requests(), of all events of the page: the call, then the stream in which it ends."""
    config = http.get("/config").json()
    numbers = count()
    ids = [(each["id"], len(each["inputs"])) for each in config["dependencies"]]
    junk = (None, MARK, [MARK], {MARK: MARK}, 1e308, True, json.dumps([MARK, 0]), -1, [[[MARK]]])
    for number, inputs in [*ids, (9_999, 1), (-1, 1), (MARK, 1), (None, 0), (1.5, 2)]:
        calls = [[value] * inputs for value in junk]
        calls += [[], [MARK] * (inputs + 3), [{"path": MARK, "meta": {"_type": "gradio.FileData"}}]]
        calls += [MARK, {MARK: MARK}, None, 5]
        for data in calls:
            session = f"{WORD}{next(numbers)}"
            body = {"fn_index": number, "data": data, "session_hash": session}
            more = {"event_data": {MARK: MARK}, "trigger_id": MARK, "event_id": MARK, MARK: MARK}
            for sent in (body, body | more):
                yield {"method": "POST", "url": "/gradio_api/queue/join", "json": sent}
            query = {"session_hash": session}
            yield {"method": "GET", "url": "/gradio_api/queue/data", "params": query}
    for name in ("chat", "complete", "v2/chat", "v2/complete", quote(MARK)):
        for body in (*({"data": [value] * 7} for value in junk), {"message": MARK, "prompt": MARK}):
            yield {"method": "POST", "url": f"/gradio_api/call/{name}", "json": body}
    bodies = ({"session_hash": MARK, "fn_index": MARK, "event_id": MARK}, {"event_id": [MARK]})
    for path in ("cancel", "reset", "reset/"):
        for body in bodies:
            yield {"method": "POST", "url": f"/gradio_api/{path}", "json": body}


# What httpx would not send
RAW = (
    f"{WORD}\r\n\r\n", f"GET /{MARK} HTTP/1.1\r\n\r\n", f"GET / HTTP/9.9\r\n{WORD}: {WORD}\r\n\r\n",
    f"GET /{WORD} HTTP/1.1\r\nhost: {WORD}\r\n{MARK}: {MARK}\r\n\r\n",
    f"POST /{WORD} HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked\r\n\r\nzz{WORD}\r\n",
    f"POST /page/chat HTTP/1.1\r\nhost: HOST\r\ncontent-length: {WORD}\r\n\r\n",
    f"GET http://{WORD}/ HTTP/1.1\r\nhost: HOST\r\n\r\n", f"PRI * HTTP/2.0\r\n\r\n{WORD}",
    f"GET /gradio_api/heartbeat/{WORD} HTTP/1.1\r\nhost: HOST\r\nupgrade: websocket\r\n"
    f"connection: upgrade\r\nsec-websocket-key: {WORD}\r\nsec-websocket-version: 13\r\n\r\n",
    "\x16\x03\x01" + WORD, "GET /" + WORD * 20_000,
)  # fmt: skip


# The program in front of a scripted engine, which starts at once
SCRIPTED = """
import sys
from assistant.chat.assistant import Assistant
from assistant.settings import read_settings
from assistant.web.app import build_app
from assistant.web.server import listen, local_address, serve
from tests.support.fake_engine import FakeEngine
from tests.support.server import TEMPLATE
settings = read_settings(sys.argv[1:], {{}})
sock = listen(settings)
app = build_app(Assistant(FakeEngine({script}), TEMPLATE), settings)
print(local_address(settings, sock), flush=True)
serve(app, settings, sock)
"""


class Walked:
    """The program with `arguments`, whose output is kept; ends with the block. engine: how a
    scripted one is made that stands in the place of the embedded model."""

    def __init__(self, *arguments, engine=None):
        self.out = tempfile.TemporaryFile()  # noqa: SIM115
        code = ("-c", SCRIPTED.format(script=engine)) if engine else ("app.py",)
        command = [sys.executable, *code, "--port", "0", "--max-new-tokens", "8", *arguments]
        self.process = psutil.Popen(command, cwd=ROOT, stdout=self.out, stderr=subprocess.STDOUT)
        found = until(lambda: re.search(r"http://[\w.]+:\d+", self.said) or self.gone())
        self.url = found[0]
        self.sent = 0
        until(self.healthy)
        self.begun = len(self.said)

    @property
    def said(self):
        """All that it has written."""
        self.out.seek(0)
        return self.out.read().decode(errors="replace")

    def gone(self):
        assert self.process.poll() is None, self.said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.out.close()

    def client(self, **options):
        return httpx.Client(base_url=self.url, timeout=120, **options)

    def healthy(self):
        with contextlib.suppress(httpx.TransportError), self.client() as http:
            return http.get("/health").status_code in (200, 401)

    def send(self, requests, **options):
        """All of them, four at once; none may fail inside, or leave a word in what is written."""

        def one(request):
            answer, text = None, ""
            try:
                with http.stream(**request) as answer:
                    for part in answer.iter_text():  # a stream of the page may go on for ever
                        text += part
                        if "process_completed" in text or "ALIVE" in text or len(text) > 9_000:
                            break
            except httpx.ReadTimeout:
                assert "timeout" in request, request
            except httpx.RemoteProtocolError:  # it is no request, or too much of one; or an event
                # that is not there, after whose error Gradio breaks off
                told = "event: error" in text or "unexpected_error" in text
                refused = answer is None or answer.status_code in (408, 413)
                assert told or refused, (answer, text, request)
            if answer is not None:
                assert answer.status_code < 500, (answer.status_code, request)
                assert FAILED not in text and "Traceback" not in text, request
            self.sent += 1

        with self.client(**options) as http, ThreadPoolExecutor(4) as pool:
            list(pool.map(one, requests))

    def send_raw(self):
        place = urlsplit(self.url)
        for text in RAW:
            with socket.create_connection((place.hostname, place.port), timeout=60) as sock:
                sock.sendall(text.replace("HOST", place.netloc).encode("latin-1", "replace"))
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(1 << 16):
                        pass
            self.sent += 1

    def check_silence(self):
        """What was written since the start holds nothing that was sent, and no traceback."""
        said = self.said[self.begun :]
        for odd in (WORD, WORD.upper(), "\x1b", "Traceback"):
            at = said.find(odd)
            assert at < 0, said[max(0, at - 1500) : at + 1500]
        assert len(said) < 20_000, said[:3000]

    @property
    def memory(self):
        return self.process.memory_info().rss
