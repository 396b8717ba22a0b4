"""How often one client may ask, and what counts."""

import functools
import json

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import OverloadedError

from assistant.settings import Settings
from assistant.web.gate import limit
from assistant.web.gate.limit import PerMinute, address
from tests.support.browser import finished, send
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("count", [1, 2, 7, 60, 1000])
def test_so_many_at_once_then_one_by_one(count):
    clock = Clock()
    perminute = PerMinute(count, clock)
    assert [perminute.wait("a") for _ in range(count)] == [0] * count
    assert perminute.wait("a") == pytest.approx(60 / count)
    assert perminute.wait("a") == pytest.approx(60 / count)  # a refused request does not count
    assert perminute.wait("b") == 0
    clock.now += 60 / count
    assert perminute.wait("a") == 0 and perminute.wait("a") > 0
    clock.now += 60
    assert [perminute.wait("a") for _ in range(count)] == [0] * count


def test_looking_does_not_count():
    clock = Clock()
    perminute = PerMinute(2, clock)
    assert [perminute.wait("a", count=False) for _ in range(9)] == [0] * 9
    assert [perminute.wait("a") for _ in range(2)] == [0, 0]
    assert perminute.wait("a", count=False) == perminute.wait("a") == pytest.approx(30)


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(limit, "CLIENTS_MAX", 3)
    perminute = PerMinute(1, Clock())
    for client in "abcde":
        assert perminute.wait(client) == 0
    assert list(perminute._rested) == ["c", "d", "e"]
    assert perminute.wait("c") > 0
    perminute.wait("f")
    assert list(perminute._rested) == ["e", "c", "f"]  # who was seen last is kept


@pytest.mark.parametrize(
    "client, name",
    [
        (("203.0.113.7", 1), "203.0.113.7"),
        (("::ffff:203.0.113.7", 1), "203.0.113.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::1", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("unix", 1), "unix"),
        (None, ""),
    ],
)
def test_whose_request_it_is(client, name):
    assert address({"client": client}) == name


@pytest.fixture
def server():
    with pytest.MonkeyPatch.context() as patch:  # no minute passes, however slow a test is
        patch.setattr(limit, "PerMinute", functools.partial(PerMinute, clock=Clock()))
        with running(FakeEngine(), Settings(port=0, max_requests_per_minute=2)) as server:
            yield server


def told_off(answer):
    seconds = int(answer.headers["retry-after"])
    assert answer.status_code == 429 and 0 < seconds <= 60
    assert answer.headers["x-content-type-options"] == "nosniff"
    sentence = answer.json()["detail"]
    assert sentence.startswith("You may send 2 requests a minute")
    return f"wait {seconds} seconds" in sentence


def test_calls_are_counted_and_health_is_not(server):
    for _ in range(2):
        with Page(server.url) as page:
            assert page.call("chat", message="hi") == "Hello."
    answer = server.post("/gradio_api/call/v2/complete", json={"prompt": "x"})
    assert told_off(answer)
    assert told_off(server.post("/gradio_api/call/complete", json={"data": ["x"]}))
    assert len(server.engine.requests) == 2
    for path in ("/health", "/metrics", "/", "/config"):
        assert server.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/completions",
        "/v1/chat/completions",
        "/generate",
        "/generate_stream",
        "/",
        "/overlap",
        "/v1/responses",
        "/infill",
        "/completion",
    ],
)
def test_the_apis_are_counted(server, path):
    message = {"role": "user", "content": "x"}
    body = {"prompt": "x", "inputs": "x", "messages": [message], "document": "x"}
    if path == "/v1/responses":
        body = {"input": "x"}
    answers = [server.post(path, json=body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert told_off(answers[-1])
    said = answers[-1].json()
    if path.startswith(("/v1/", "/overlap", "/infill", "/completion")):
        assert said["error"]["type"] == "rate_limit_error"
    else:
        assert (said["error"], said["error_type"]) == (said["detail"], "overloaded")
        client = InferenceClient(base_url=server.url)
        with pytest.raises(OverloadedError, match="You may send 2 requests a minute"):
            client.text_generation("x")
    assert server.get("/v1/models").status_code == 200


def test_the_page_says_so_and_keeps_the_message(server, browser):
    page = browser.new_page()
    page.goto(server.url)
    page.wait_for_selector("#message textarea")
    for count in (1, 2):
        send(page, "hi")
        finished(page, count)
    send(page, "a question")
    page.wait_for_selector(":text('2 requests a minute')")
    assert page.input_value("#message textarea") == "a question"
    page.close()


TURNS = [{"role": "user", "content": "hi"}]
FREE = {
    "facts": None,
    "stop": {"run": "x"},
    "count": {"text": "a draft"},
    "prompt": {"to": "see", "turns": TURNS},
    "render": {"replies": [{"text": "x"}]},
    "sources": {"text": "x"},
}


def test_of_the_page_only_what_writes_is_counted(server):
    with Page(server.url) as page:
        number = page.event("source-search", "click")
        with page.http.stream("GET", f"/gradio_api/heartbeat/{page.session}"):
            assert page.join(number, ["value", "", "Any", "Any"]).status_code == 200  # a new page
            assert "Hello." in page.say("hi")
        for route in ("chat", "again"):
            assert told_off(page.ask(route, {}))
        for _ in range(3):
            for route, body in FREE.items():
                assert page.ask(route, body).status_code == 200
            assert page.join(number, ["value", "", "Any", "Any"]).status_code == 200
    assert len(server.engine.requests) == 1


def test_a_new_session_counts_whatever_it_asks(server):
    with Page(server.url) as page:
        number = page.event("source-search", "click")
        for session in "ab":
            page.session = session
            for _ in range(3):
                assert page.join(number, ["value", "", "Any", "Any"]).status_code == 200
        page.session = "c"
        assert told_off(page.join(number, ["value", "", "Any", "Any"]))


def test_whatever_asks_for_a_reply_of_the_page_counts(server):
    """Also what is refused for its body: to look at that costs, too."""
    with Page(server.url) as page:
        assert page.ask("chat", {}).status_code == page.ask("again", {}).status_code == 400
        assert told_off(page.ask("chat", {}))


def test_a_number_that_is_spelt_otherwise_is_counted(server):
    """Gradio reads "4" and 4.0 as 4: what is not plainly free counts."""
    with Page(server.url) as page:
        number = page.event("source-search", "click")
        for spelling in (f'"{number}"', f"{number}.0"):
            body = f'{{"fn_index": {spelling}, "data": [], "session_hash": "x"}}'
            page.http.post("/gradio_api/queue/join", content=body)
        assert told_off(page.join(page.event("fill-in", "click"), []))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"[" * 9_000, b'{"fn_index": {}}'])
def test_what_is_no_request_counts_too(server, body):
    headers = {"content-type": "application/json"}
    answers = [
        server.post("/gradio_api/queue/join", content=body, headers=headers) for _ in range(3)
    ]
    assert all(400 <= answer.status_code < 500 for answer in answers)
    assert told_off(answers[-1])


def test_each_client_has_a_minute_of_its_own(server):
    """A proxy on this machine names the clients."""

    def ask(client):
        headers = {"x-forwarded-for": client, "content-type": "application/json"}
        body = json.dumps({"prompt": "x"})
        return server.post("/gradio_api/call/v2/complete", content=body, headers=headers)

    for client in ("203.0.113.1", "203.0.113.2", "2001:db8::1"):
        assert [ask(client).status_code for _ in range(3)] == [200, 200, 429]
    assert ask("2001:db8::2").status_code == 429


def test_without_a_limit_nothing_is_counted():
    with running(FakeEngine(), Settings(port=0)) as server:
        codes = {
            server.post("/gradio_api/call/v2/complete", json={"prompt": "x"}).status_code
            for _ in range(30)
        }
    assert codes == {200}
