"""Clients that keep the server waiting: they end, make room, and leave no trace in the log."""

import contextlib
import errno
import json
import logging
import os
import socket
import threading

import httpx
import pytest
from uvicorn.protocols.http import h11_impl

from assistant.web.gate import connections, security
from assistant.web.gate.connections import PLACES_MAX, places, quiet_handler
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running, slowly
from tests.support.waiting import until
from tests.web.test_web import SERVE, program

HOST = b"Host: 127.0.0.1\r\n"
BODY = b"POST /v1/completions HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\n{"
UNFINISHED = {"silence": b"", "head": b"GET /health HTTP/1.1\r\nHost: 127", "body": BODY}
WHOLE = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"


def connect(url, data=b""):
    host, _, port = url.removeprefix("http://").rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=30)
    client.sendall(data)
    return client


def read(client):
    """What comes until the server ends the connection."""
    found = bytearray()
    with contextlib.suppress(ConnectionError):
        while chunk := client.recv(65536):
            found += chunk
    return bytes(found)


@contextlib.contextmanager
def beating(page):
    """The stream that an open page keeps."""
    with page.http.stream("GET", f"/gradio_api/heartbeat/{page.session}") as answer:
        assert answer.status_code == 200
        yield answer


def drip(client, data=b"x"):
    """What comes while a byte is sent every now and then, until the server ends the connection."""
    left = threading.Event()

    def send():
        with contextlib.suppress(OSError):
            while not left.wait(0.05):
                client.sendall(data)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        return read(client)
    finally:
        left.set()
        thread.join()


@pytest.fixture
def patience(monkeypatch):
    """Half a second for whatever a client is waited for, without the Gate's own."""
    monkeypatch.setattr(connections, "PATIENCE_S", (0.5, 0.5, 0.5, 0.5))


@pytest.fixture
def server():
    with running(FakeEngine(lambda request: slowly("Hello there.", pause=0.3))) as server:
        yield server
        assert server.get("/health").status_code == 200


def open_ones(server):
    return list(server._server.server_state.connections)


def kinds(server):
    """What the clients of the open connections are waited for, where they are."""
    return [waits[0] for connection in open_ones(server) if (waits := connection.waits_for())]


# -- how many there may be --------------------------------------------------------------------


@pytest.mark.parametrize("limit, count", [(256, 128), (1024, 512), (10**9, PLACES_MAX)])
def test_half_of_the_descriptors_are_for_connections(monkeypatch, limit, count):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert places() == count


def test_unfinished_requests_take_no_place_from_others():
    """With few descriptors: the process itself, and what it writes to stderr."""
    resource = pytest.importorskip("resource")
    process = program(
        *("--port", "0"),
        code=SERVE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
    )
    try:
        url = process.stdout.readline().strip()
        with contextlib.ExitStack() as stack:
            for data in UNFINISHED.values():
                for _ in range(300):
                    stack.enter_context(connect(url, data))
                assert httpx.get(url + "/health").status_code == 200
        assert httpx.get(url + "/health").status_code == 200
    finally:
        process.kill()
        said = process.communicate()[1]
    assert said == ""


@pytest.fixture
def small(monkeypatch):
    """A server with room for fewer than eight connections, and with endless patience."""
    monkeypatch.setattr(connections, "PLACES_MAX", 8)
    monkeypatch.setattr(connections, "PATIENCE_S", (1000, 1000, 1000, 1000))
    monkeypatch.setattr(security, "BODY_S", 1000)
    with running(FakeEngine()) as server:
        yield server
        until(lambda: server.get("/health").status_code == 200)


def test_who_is_idle_goes_first_then_who_was_waited_for_longest(small):
    with contextlib.ExitStack() as stack:

        def come(data, kind):
            before = kinds(small).count(kind)
            news = [stack.enter_context(connect(small.url, data)) for _ in range(2)]
            until(lambda: kinds(small).count(kind) == before + 2)
            until(lambda: all(c.waited_for == c.waits_for() for c in open_ones(small)))
            return news

        older = come(BODY, connections.BODY)
        newer = come(b"GET", connections.HEAD)
        idle = come(WHOLE, connections.NEXT)
        stack.enter_context(beating(stack.enter_context(Page(small.url))))
        for leaving in (idle, older, newer):
            for _ in range(2):
                stack.enter_context(connect(small.url))
            for client in leaving:
                read(client)


def beats(stack, small, count):
    return [
        stack.enter_context(beating(stack.enter_context(Page(small.url)))) for _ in range(count)
    ]


def test_streams_keep_their_places_and_who_finds_none_is_told(small, monkeypatch):
    places = iter(range(10_000))  # each connection from an address of its own
    monkeypatch.setattr(h11_impl, "get_remote_addr", lambda _: (f"10.0.0.{next(places)}", 1))
    with contextlib.ExitStack() as stack:
        beats(stack, small, 7)
        for _ in range(3):
            answer = small.get("/health")
            assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
            assert answer.headers["connection"] == "close"
            assert answer.json()["detail"] == connections.FULL
        until(lambda: len(open_ones(small)) == 7)
        assert kinds(small) == []


def test_one_address_cannot_take_all_places_for_ever(small):
    with contextlib.ExitStack() as stack:
        beats(stack, small, 7)
        for _ in range(3):
            assert small.get("/health").status_code == 200


# -- how long they may take -------------------------------------------------------------------


@pytest.mark.parametrize("data", UNFINISHED.values(), ids=UNFINISHED)
def test_who_does_not_finish_is_left(server, patience, data):
    with connect(server.url, data) as client:
        assert read(client) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"GET /health HTTP/1.1\r\n" + HOST + b"X-Long: ",
        BODY.replace(b"100", b"100000"),
        BODY.replace(b"POST /v1/completions", b"GET /health").replace(b"100", b"100000"),
        WHOLE,
    ],
    ids=["head", "body", "body that nobody reads", "second head"],
)
def test_dripping_wins_no_time(server, patience, data):
    with connect(server.url, data) as client:
        drip(client, b"x")


def test_a_body_that_drips_gets_a_sentence(server, monkeypatch):
    monkeypatch.setattr(security, "BODY_S", 0.5)
    with connect(server.url, BODY.replace(b"100", b"100000")) as client:
        head, _, body = drip(client).partition(b"\r\n\r\n")
    assert b" 408 " in head and b"connection: close" in head.lower()
    assert "whole within" in json.loads(body)["error"]["message"]
    assert not server.engine.requests


def test_who_leaves_before_the_body_is_whole_asks_for_nothing(server):
    body = b'{"prompt": "x"}'
    head = b"POST /v1/completions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    with connect(server.url, head + b"Content-Length: 99\r\n\r\n" + body):
        until(lambda: open_ones(server))
    until(lambda: not open_ones(server))
    assert server.get("/health").status_code == 200 and not server.engine.requests


def test_streams_live_on(server, patience):
    """Nobody is waited for while the server writes: a reply takes longer than a client may."""
    with Page(server.url) as page, beating(page) as beats:
        assert page.call("chat", message="hi") == "Hello there."
        answer = page.post("/v1/completions", {"prompt": "x", "stream": True})
        assert "data: [DONE]" in answer.text
        until(lambda: len(open_ones(server)) == 1)  # the others have left meanwhile
        assert kinds(server) == [] and not beats.is_closed


def test_who_takes_nothing_of_an_answer_is_left(server, patience):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        client.connect((host, int(port)))
        client.sendall(WHOLE.replace(b"/health", b"/") * 50)
        until(lambda: kinds(server) == [connections.TAKE])
        until(lambda: not open_ones(server))


# -- what the log says ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, more",
    [
        (b"\0\0\r\n\r\n", b""),
        (b"GET /gradio_api/heartbeat/x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked", b"ZZ"),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: websocket", b"x"),
    ],
    ids=["no request", "no chunk behind a stream", "upgrade"],
)
def test_what_is_no_request_leaves_no_traceback(server, capfd, caplog, data, more):
    with connect(server.url, data + b"\r\n\r\n") as client:
        if more:
            assert client.recv(1) == b"H"
            client.sendall(more + b"\r\n")
        client.shutdown(socket.SHUT_WR)
        read(client)
    assert server.get("/health").status_code == 200
    assert "Traceback" not in caplog.text + "".join(capfd.readouterr())


def test_sockets_that_fail_are_one_line_of_the_log(caplog):
    class Loop:
        now = 0.0

        def time(self):
            return self.now

    loop, handle = Loop(), quiet_handler()
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    caplog.set_level(logging.WARNING)
    for _ in range(100):
        handle(loop, {"message": "accept", "exception": error, "socket": None})
    assert len(caplog.records) == 1 and error.strerror in caplog.text
    loop.now += 3600
    handle(loop, {"message": "write", "exception": error, "transport": None})
    assert len(caplog.records) == 2 and "Traceback" not in caplog.text
    handle(loop, {"message": "theirs", "exception": ValueError("ours"), "transport": None})
    handle(loop, {"message": "theirs", "exception": error, "task": None})
    handle(loop, {"message": "theirs"})
    said = [record.getMessage() for record in caplog.records[2:]]
    assert said == ["theirs: ValueError at no place", "theirs: OSError at no place", "theirs: "]


def test_small_answers_are_sent_at_once(server):
    with connect(server.url, WHOLE):
        (connection,) = until(lambda: list(open_ones(server)))
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_program_ends_while_clients_keep_it_waiting():
    with contextlib.ExitStack() as stack, running(FakeEngine()) as server:
        for data in UNFINISHED.values():
            stack.enter_context(connect(server.url, data))
        until(lambda: len(open_ones(server)) == 3)
