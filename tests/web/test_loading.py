"""The port while the model loads: a sentence at once, and nobody lost at the take-over."""

import contextlib
import socket
import struct
import threading

import httpx
import pytest

from assistant import __main__ as app
from assistant.errors import CheckpointError
from assistant.settings import Settings
from assistant.web import loading
from assistant.web.loading import DRAIN_MAX, OPEN_MAX, SENTENCE, answering
from assistant.web.server import listen, local_address
from tests.support.fake_engine import FakeEngine
from tests.support.waiting import until
from tests.web.gate.test_connections import connect, drip


@pytest.fixture
def url():
    settings = Settings(port=0)
    with contextlib.closing(listen(settings)) as sock, answering(sock):
        yield local_address(settings, sock)


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("GET", "/health", None),
        ("HEAD", "/health", None),
        ("OPTIONS", "/", None),
        ("POST", "/v1/chat/completions", b"x" * DRAIN_MAX),
        ("POST", "/gradio_api/queue/join", b"{}"),
    ],
)
def test_a_program_hears_when_to_ask_again(url, method, path, body):
    answer = httpx.request(method, url + path, content=body)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-content-type-options"] == "nosniff"
    if method != "HEAD":
        told = answer.json()
        assert told["detail"] == told["error"]["message"] == SENTENCE


def test_a_browser_gets_a_page_that_looks_again(url):
    answer = httpx.get(url, headers={"accept": "text/html,*/*"})
    assert answer.status_code == 503 and '<meta http-equiv="refresh"' in answer.text
    assert "The model is being loaded" in answer.text
    assert "script" not in answer.headers["content-security-policy"]


def test_who_says_nothing_keeps_nobody_waiting(url):
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection((host, int(port))))
        assert httpx.get(url).status_code == 503


def test_a_crowd_takes_few_threads(url):
    host, port = url.removeprefix("http://").split(":")
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        crowd = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            for _ in range(5 * OPEN_MAX)
        ]
        assert httpx.get(url).status_code == 503
        assert threading.active_count() <= threads + OPEN_MAX
        assert crowd[0].recv(1) == b""  # the first ones made room
    assert httpx.get(url).status_code == 503
    until(lambda: threading.active_count() <= threads)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nX-Long: ", b"POST / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"]
)
def test_dripping_wins_no_time(monkeypatch, url, data):
    monkeypatch.setattr(loading, "PATIENCE_S", 0.5)
    with connect(url, data) as client:
        drip(client)
    assert httpx.get(url).status_code == 503


def test_who_drips_at_the_take_over_is_left_too(monkeypatch):
    monkeypatch.setattr(loading, "PATIENCE_S", 0.5)
    settings = Settings(port=0)
    with contextlib.closing(listen(settings)) as sock, contextlib.ExitStack() as stack:
        url = local_address(settings, sock)
        threads = threading.active_count()
        with answering(sock):
            client = stack.enter_context(connect(url, b"GET / HTTP/1.1\r\nX-Long: "))
            until(lambda: threading.active_count() == threads + 2)
        drip(client)
        until(lambda: threading.active_count() <= threads)


@pytest.mark.parametrize("length", ["9" * 5000, str(DRAIN_MAX)])
def test_who_breaks_off_leaves_no_traceback(url, length, capfd):
    host, port = url.removeprefix("http://").split(":")
    threads = threading.active_count()
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\nx".encode())
        reset = struct.pack("ii", 1, 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    assert httpx.get(url).status_code == 503
    until(lambda: threading.active_count() <= threads)
    assert capfd.readouterr().err == ""


def test_the_server_takes_over_without_a_gap(monkeypatch, capsys):
    """All who ask meanwhile get an answer: first that it loads, then the model's."""
    codes, left = [], threading.Event()
    with contextlib.closing(listen(Settings(port=0))) as probe:
        url = local_address(Settings(), probe)
    port = int(url.rpartition(":")[2])

    def ask():
        while not left.is_set():
            with contextlib.suppress(httpx.ConnectError):  # before it listens
                codes.append(httpx.get(url + "/health").status_code)

    def open_engine(settings):
        until(lambda: codes.count(503) > 3)
        return FakeEngine(window=40_000)

    def serve(app, settings, sock, say):
        from assistant.web.server import make_server

        server = make_server(app, settings, say)
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        until(lambda: codes.count(200) > 3)
        left.set()
        asking.join()  # its last answer is whole
        server.should_exit = True
        thread.join()

    monkeypatch.setattr("assistant.engine.open.open_engine", open_engine)
    monkeypatch.setattr(app, "serve", serve)
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert app.main(["--port", str(port)]) == 0, capsys.readouterr()
    finally:
        left.set()
        asking.join()
    first_good = codes.index(200)
    assert set(codes[:first_good]) == {503}
    assert 503 not in codes[first_good : first_good + 3]


def test_a_model_that_does_not_load_ends_the_program(monkeypatch, capsys):
    def open_engine(settings):
        raise CheckpointError("There is no such checkpoint.")

    monkeypatch.setattr("assistant.engine.open.open_engine", open_engine)
    assert app.main(["--port", "0"]) == 1
    assert capsys.readouterr().err == "There is no such checkpoint.\n"
