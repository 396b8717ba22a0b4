"""Every request has a name, and with --access-log a line that holds nothing of what was said."""

import json
import logging
import re

import pytest

from assistant.settings import Settings
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running
from tests.support.waiting import until

KEYS = ["time", "id", "client", "method", "path", "status", "ms", "bytes"]


@pytest.fixture
def lines(caplog):
    """The lines of the log so far, read."""
    caplog.set_level(logging.INFO, "assistant.web.gate.access")

    def lines():
        return [
            json.loads(record.getMessage())
            for record in caplog.records
            if record.name == "assistant.web.gate.access"
        ]

    return lines


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine(), Settings(port=0, access_log=True)) as server:
        yield server


@pytest.mark.parametrize(
    "given, kept",
    [
        ("a-B-9", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("a b", False),
        ('a"}', False),
        ("é", False),
        ("a_b", False),
    ],
)
def test_a_clients_own_name_is_kept_if_it_is_a_word(server, given, kept):
    answer = server.get("/health", headers={"x-request-id": given.encode()})
    named = answer.headers["x-request-id"]
    assert (named == given) == kept
    assert re.fullmatch("[A-Za-z0-9-]{1,64}", named)


def test_each_request_gets_a_name_even_when_it_is_refused(server):
    answers = [
        server.get("/health"),
        server.get("/nothing"),
        server.get("/health", headers={"host": "evil.example"}),
        server.post("/gradio_api/call/v2/chat", json={}),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 400, 400]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 4


def test_a_line_says_what_was_asked_of_whom(server, lines):
    answer = server.get("/nothing/here?key=s3cret")
    name = answer.headers["x-request-id"]
    (line,) = until(lambda: [line for line in lines() if line["id"] == name])
    assert list(line) == KEYS
    assert (line["method"], line["path"], line["status"]) == ("GET", "/nothing/here", 404)
    assert line["client"] == "127.0.0.1" and line["bytes"] == len(answer.content)
    assert line["ms"] >= 0 and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", line["time"])


def test_nothing_of_what_was_said_is_written(server, lines, caplog):
    headers = {"authorization": "Bearer s3cret", "cookie": "a=s3cret"}
    with Page(server.url, headers=headers) as page:
        page.session = "s3cret" + page.session
        assert "Hello." in page.say("s3cret question")
        assert page.call("complete", prompt="s3cret prompt") == "Hello."
        with page.http.stream("GET", f"/gradio_api/heartbeat/{page.session}"):
            pass
    server.idle()
    until(lambda: len(lines()) >= 4)
    until(lambda: any("heartbeat" in line["path"] for line in lines()))
    assert "s3cret" not in caplog.text and "Hello" not in caplog.text
    paths = [line["path"] for line in lines()]
    expected = {"/page/chat", "/gradio_api/call/complete/...", "/gradio_api/heartbeat/..."}
    assert expected <= set(paths)


def test_a_path_can_forge_no_line(server, lines):
    server.get("/a%0A%7B%22id%22%3A1%7D%1b[31m" + "x" * 500)
    (line,) = until(lines)
    assert line["path"].startswith('/a\n{"id":1}\x1b[31mx') and len(line["path"]) == 200


def test_a_failure_is_logged_under_its_name(server, lines, caplog):
    def fail():
        raise RuntimeError("ours")

    server.engine.status = fail
    try:
        answer = server.get("/health", headers={"x-request-id": "name-7"})
    finally:
        del server.engine.status
    assert answer.status_code == 500 and answer.headers["x-request-id"] == "name-7"
    assert "the request name-7 failed" in caplog.text
    assert until(lines)[-1]["status"] == 500


def test_it_is_off_unless_asked_for(lines):
    with running(FakeEngine(), Settings(port=0)) as server:
        assert "x-request-id" in server.get("/health").headers
    assert lines() == []
