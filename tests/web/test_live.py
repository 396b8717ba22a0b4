"""A real server on loopback, with a scripted engine: what the page, the API and strangers meet."""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gradio_client import Client

from assistant.errors import EngineError
from assistant.paths import ROOT
from assistant.settings import Settings
from assistant.web.gate.security import BAD_CALL, BODY_MAX, FAILED
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, Refused, call_all, running, slowly
from tests.support.waiting import FREED_S, STOPPED_S, keeps, until


def echo(request):
    """Writes back the last nonce of the prompt, slowly; without one it says hello."""
    prompt = FakeEngine().tokenizer.decode(request.ids)
    if "nonce" not in prompt:
        return "Hello."
    nonce = prompt[prompt.rindex("nonce") :].split()[0]
    return slowly(f"You said {nonce}.", pause=0.01)


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine(echo)) as server:
        yield server


@pytest.fixture(autouse=True)
def healthy(request):
    """Every test ends with one healthy request, and no slot is left taken."""
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        server.idle()
        with Page(server.url) as page:
            assert page.call("chat", message="hi") == "Hello."


# -- health, names, headers ------------------------------------------------------------------


def test_health_is_small_and_tells_when_the_engine_is_dead(server):
    assert server.health().keys() == {
        *("status", "model", "adapter", "window", "numerics", "running", "waiting", "uptime_s")
    }
    assert (server.health()["model"], server.health()["window"]) == ("fake", 8192)
    server.engine.dead = "The engine has stopped."
    try:
        answer = server.get("/health")
        assert answer.status_code == 503
        assert answer.json()["error"] == "The engine has stopped."
        with Page(server.url) as page:
            assert page.call("chat", message="hi") == "The engine has stopped."
    finally:
        server.engine.dead = None


@pytest.mark.parametrize(
    "path", ["/", "/health", "/config", "/theme.css", "/nothing", "/gradio_api/info"]
)
def test_every_response_has_the_security_headers(server, path):
    for headers in ({}, {"host": "evil.example"}):
        answer = server.get(path, headers=headers)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'self'" in policy
        assert "huggingface" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers.get_list("content-security-policy") == [policy]


def test_a_foreign_host_is_refused(server):
    answer = server.get("/health", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert "--allow-host" in answer.json()["detail"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_page_of_another_site_cannot_post(server, origin, kind):
    body = json.dumps({"message": "hi"})
    answer = server.post(
        "/gradio_api/call/v2/chat",
        content=body,
        headers={"origin": origin, "content-type": kind},
    )
    assert answer.status_code == 403
    assert not server.engine.active


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_page_of_another_site_cannot_read(method):
    headers = {
        "host": "given.example",
        "origin": "https://evil.example",
        "access-control-request-method": "GET",
    }
    with running(FakeEngine("Hi."), Settings(port=0, allow_host=("given.example",))) as server:
        answer = server.request(method, "/config", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert server.get("/health", headers={"host": "given.example"}).status_code == 200


def test_our_own_page_can_post(server):
    with Page(server.url, headers={"origin": server.url}) as page:
        assert page.call("chat", message="nonce-own") == "You said nonce-own."


# -- what is closed --------------------------------------------------------------------------

CLOSED = """\
GET /docs
GET /openapi.json
GET /gradio_api/openapi.json
GET /monitoring
GET /monitoring/summary
GET /gradio_api/file=/etc/passwd
GET /gradio_api/file=app.py
GET /gradio_api/file=prompts/tech-assistant.toml
GET /gradio_api/file=http://169.254.169.254/latest/meta-data
GET /gradio_api/file/etc/passwd
GET /gradio_api/proxy=http://169.254.169.254/
GET /gradio_api/deep_link?session_hash=x
GET /gradio_api/runs
GET /gradio_api/token
GET /gradio_api/upload_progress?upload_id=x
POST /gradio_api/upload
POST /gradio_api/component_server
POST /gradio_api/process_recording
POST /gradio_api/vibe-edit
POST /gradio_api/run/chat
POST /gradio_api/api/chat
GET /static/../../app.py
GET /assets/LONG
GET /static/%2e%2e/%2e%2e/app.py
GET /assets/..%2f..%2f..%2fetc%2fpasswd
GET /health/../../../../etc/passwd
""".replace("LONG", "a" * 5000).splitlines()


@pytest.mark.parametrize("line", CLOSED)
def test_what_the_page_does_not_use_is_closed(server, line):
    method, path = line.split()
    answer = server.request(method, path)
    assert answer.status_code in (403, 404)
    assert "import" not in answer.text and "root:" not in answer.text


def test_an_upload_leaves_nothing(server):
    files = {"files": ("a.txt", b"x" * 1000)}
    assert server.post("/gradio_api/upload", files=files).status_code == 404
    assert not list(Path(server.app.state.gradio.uploaded_file_dir).glob("**/a.txt"))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_is_refused(server, chunked):
    body = b'{"data": ["' + b"x" * BODY_MAX + b'"]}'
    content = iter([body[:1000], body[1000:]]) if chunked else body
    answer = server.post("/gradio_api/call/chat", content=content)
    assert answer.status_code == 413
    assert str(BODY_MAX) in answer.json()["detail"]


@pytest.mark.parametrize(
    "method, content, kind",
    [
        ("POST", b"{", "application/json"),
        ("POST", b"[" * 100_000, "application/json"),
        ("POST", b'{"data": 5}', "application/json"),
        ("POST", b"\xff\xfe", "application/json"),
        ("POST", b'{"data": ["hi"]}', "text/plain"),
        ("TRACE", b"", "application/json"),
        ("DELETE", b"", "application/json"),
        ("OPTIONS", b"", "application/json"),
    ],
)
def test_broken_requests_get_a_client_error(server, method, content, kind):
    answer = server.request(
        method,
        "/gradio_api/call/chat",
        content=content,
        headers={"content-type": kind},
    )
    assert 400 <= answer.status_code < 500


CALLS = [
    ("call/v2/chat", {}),
    ("call/v2/chat", {"message": "hi", "nope": 1}),
    ("call/v2/chat", {"data": ["hi"]}),
    ("call/v2/nope", {"message": "hi"}),
    ("call/nope", {"data": ["hi"]}),
    ("queue/join", {"fn_index": 99_999, "data": [], "session_hash": "x"}),
    ("queue/join", {"fn_index": -1, "data": [], "session_hash": "x"}),
    ("queue/join", {"fn_index": 10**30, "data": [], "session_hash": "x"}),
]


@pytest.mark.parametrize("path, body", CALLS)
def test_calls_of_what_is_not_there_get_a_sentence(server, path, body, caplog, capfd):
    answer = server.post(f"/gradio_api/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["detail"] == BAD_CALL
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "Traceback" not in caplog.text + "".join(capfd.readouterr())


def test_a_failure_of_our_own_is_a_sentence_too(server, caplog):
    def fail():
        raise RuntimeError("secret detail")

    server.engine.status = fail
    try:
        answer = server.get("/health")
    finally:
        del server.engine.status
    assert (answer.status_code, answer.json()["detail"]) == (500, FAILED)
    assert "secret detail" in caplog.text


# -- the API ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(server):
    return Client(server.url, verbose=False)


def test_chat_by_keyword(server, client):
    history = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."}]
    reply = client.predict(
        message="nonce-7",
        history=history,
        temperature=0,
        top_p=0.5,
        top_k=3,
        max_new_tokens=99,
        seed=11,
        api_name="/chat",
    )
    assert reply == "You said nonce-7."
    request = server.engine.requests[-1]
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed) == (0, 0.5, 3, 11)
    assert request.max_new_tokens == 99
    assert server.engine.prompt().endswith(
        "Human: One?\n\nAssistant: Two.\n\nHuman: nonce-7\n\nAssistant:"
    )


def test_only_the_first_keyword_is_needed(server, client):
    assert client.predict(message="nonce-8", api_name="/chat") == "You said nonce-8."
    assert client.predict(prompt="nonce-9", api_name="/complete") == "You said nonce-9."
    assert server.engine.prompt() == "nonce-9"
    assert server.engine.requests[-1].max_new_tokens == 256
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert sorted(named) == ["/chat", "/complete"]


def test_the_text_so_far_is_streamed(client):
    texts = list(client.submit(message="nonce-10", api_name="/chat"))
    assert texts[-1] == "You said nonce-10."
    assert len(set(texts)) > 2
    assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:], strict=False))


NAN = float("nan")
KEYWORDS = ["message", "history", "temperature", "top_p", "top_k", "max_new_tokens", "seed"]
BAD_CALLS = [
    ([""], "The message is empty."),
    (["\x00"], "The message is empty."),
    ([None], "message must be text"),
    ([["a"]], "message must be text"),
    (["a" * 1_000_000], "at most 100,000 characters; it has 1,000,000"),
    (["a", "history"], "history must be a list"),
    (["a", [{"role": "system", "content": "x"}]], "'system'"),
    (["a", [{"role": "user", "content": "x"}]], "must end with a reply"),
    (["a", [{"role": "user"}]], "content"),
    (["a", [{"role": "user", "content": "x"}] * 1001], "at most 1000 turns"),
    (["a", None, NAN], "temperature must be"),
    (["a", None, float("inf")], "temperature must be"),
    (["a", None, -1], "temperature must be"),
    (["a", None, 99], "temperature must be"),
    (["a", None, "hot"], "temperature must be a number"),
    (["a", None, 0.2, 0], "top_p must be"),
    (["a", None, 0.2, NAN], "top_p must be"),
    (["a", None, 0.2, 0.9, -5], "top_k must be"),
    (["a", None, 0.2, 0.9, 0, 0], "max_new_tokens must be"),
    (["a", None, 0.2, 0.9, 0, 2.7], "max_new_tokens must be"),
    (["a", None, 0.2, 0.9, 0, 10**9], "max_new_tokens must be"),
    (["a", None, 0.2, 0.9, 0, 9, -1], "seed must be"),
    (["a", None, 0.2, 0.9, 0, 9, "x"], "seed must be"),
]


@pytest.mark.parametrize("data, sentence", BAD_CALLS)
def test_what_cannot_be_done_is_one_sentence(server, data, sentence):
    before = len(server.engine.requests)
    with Page(server.url) as page:
        told = page.call("chat", **dict(zip(KEYWORDS, data, strict=False)))
    assert sentence in told
    assert "\n" not in told and "Traceback" not in told and len(told) < 300
    assert len(server.engine.requests) == before


@pytest.mark.parametrize("text", ["nonce-\x00\x1b[31m1", "nonce-1 \ud83d", "nonce-1 \u202e\u200d"])
def test_odd_characters_do_no_harm(server, text):
    with Page(server.url) as page:
        assert page.call("chat", message=text) == "You said nonce-1."
        assert "You said nonce-1." in page.say(text)
    assert "\x00" not in server.engine.prompt() and "\x1b" not in server.engine.prompt()


# -- the page over HTTP ----------------------------------------------------------------------


def test_a_chat_goes_on(server):
    with Page(server.url) as page:
        assert "You said nonce-1." in page.say("nonce-1")
        assert '"finish": "stop"' in page.say("nonce-2")
    assert server.engine.prompt().count("Human:") == 2
    assert "Assistant:You said nonce-1.\n\n" in server.engine.prompt()  # the ids of the reply


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("a" * 1_000_000, "100,000"),
        (" \n", "The message is empty."),
        (5, "text is wrong: Input should be a valid string."),
        (None, "no message that waits"),
    ],
    ids=["long", "blank", "number", "null"],
)
def test_a_refused_message_is_a_sentence_and_no_turn(server, text, sentence):
    with Page(server.url) as page:
        with pytest.raises(Refused, match=sentence):
            page.chat(text)
        assert page.turns == []
        assert "You said nonce-3." in page.say("nonce-3")


def test_events_called_with_junk_do_no_harm(server):
    junk = [None, "x", -1, NAN, [], {}, "../../etc/passwd", "edit:99999", "example:-1"]
    assert call_all(server, junk, playground=False) >= 5
    with Page(server.url) as page:
        assert "You said nonce-4." in page.say("nonce-4")


def test_nothing_secret_is_served(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    settings = Settings(port=0, auth=("ada", "lovelace-1815"))
    with running(FakeEngine("Hi."), settings) as server, Page(server.url) as page:
        answer = page.http.post("/login", data={"username": "ada", "password": "lovelace-1815"})
        assert answer.status_code == 200
        for path in ("/", "/config", "/gradio_api/info", "/health"):
            text = page.http.get(path).text
            assert "hf_planted" not in text and "lovelace-1815" not in text
            assert str(ROOT) not in text


WIDE = f"{'a|' * 200}\n{'-|' * 200}\n{'|' * 4}\n" + "|\n" * 3000


@pytest.mark.parametrize(
    "reply, shown",
    [("```java\n" + "a b c d " * 2000, "code-text"), (WIDE, "-|-|")],
    ids=["colours", "cells"],
)
def test_what_is_slow_to_render_keeps_nobody_waiting(reply, shown):
    """A reply of a kind that Pygments takes seconds for, and a table that would have 600,000
    cells."""
    pieces = [item for at in range(0, len(reply), 1000) for item in (reply[at : at + 1000], 0.02)]
    with (
        running(FakeEngine([pieces], window=40_000), max_new_tokens=20_000) as server,
        Page(server.url) as page,
    ):
        with ThreadPoolExecutor(1) as pool:
            told = pool.submit(page.say, "hi")
            until(lambda: server.engine.active)
            asked = 0
            while not told.done():
                assert server.get("/health", timeout=5).status_code == 200
                asked += 1
        assert asked > 1 and shown in told.result()


# -- many at once, and leaving ---------------------------------------------------------------


def test_thirty_chats_at_once_are_not_crossed(server):
    def chat(number):
        with Page(server.url) as page:
            if number % 2:
                return page.call("chat", message=f"nonce-{number:04}")
            return page.say(f"nonce-{number:04}")

    with ThreadPoolExecutor(30) as pool:
        told = list(pool.map(chat, range(30)))
    for number, text in enumerate(told):
        assert f"You said nonce-{number:04}." in text
        assert {f"nonce-{n:04}" for n in range(30) if f"nonce-{n:04}" in text} == {
            f"nonce-{number:04}"
        }
    assert server.health()["running"] == server.health()["waiting"] == 0


@pytest.fixture
def held():
    """A server with two slots and a waiting room of one, whose replies go on for ever."""
    go_on = threading.Event()
    engine = FakeEngine(lambda request: ["Once ", go_on, "more."], slots=2, queue=1)
    with running(engine) as server:
        server.go_on = go_on
        yield server
        go_on.set()


def first_text(news):
    """Read on until a reply's first words have come."""
    assert any("Once" in value.get("text", "") for value in news), "the stream ended"


def test_leaving_frees_the_slot(held):
    def leave():
        held.idle()
        with Page(held.url) as page, page.news("chat", text="hi") as news:
            first_text(news)
            assert held.health()["running"] == 1
        held.idle(FREED_S)

    keeps(leave)
    assert held.health()["running"] == 0
    assert held.engine.cancelled == len(held.engine.requests)


def test_leaving_during_a_long_prompt_frees_the_slot(held):
    held.engine.script = lambda request: [held.go_on, "late"]

    def leave():
        held.idle()
        with Page(held.url) as page, page.news("chat", text="hi") as news:
            assert next(news)["message"] == "hi"
            until(lambda: held.health()["running"] == 1)
        held.idle(FREED_S)

    keeps(leave)
    assert held.health()["running"] == 0


def test_an_api_client_that_leaves_frees_the_slot(held):
    def leave():
        held.idle()
        with Page(held.url) as page:
            answer = page.post("/gradio_api/call/v2/chat", {"message": "hi"})
            path = f"/gradio_api/call/chat/{answer.json()['event_id']}"
            with page.http.stream("GET", path) as response:
                assert any("Once" in line for line in response.iter_lines())
        held.idle(FREED_S)

    keeps(leave)
    assert held.health()["running"] == 0


def test_stop_frees_the_slot_at_once(held):
    def stop():
        held.idle()
        with Page(held.url) as page, page.news("chat", text="hi", run="number-1") as news:
            first_text(news)
            assert page.ask("stop", {"run": "number-1"}).json() == {"stopped": True}
            held.idle(STOPPED_S)

    keeps(stop)
    assert held.health()["running"] == 0


def test_who_waits_is_told_the_place_and_can_leave(held):
    with contextlib.ExitStack() as stack, Page(held.url) as page:
        for _ in range(2):
            stack.enter_context(page.news("chat", text="hi"))
        until(lambda: held.health()["running"] == 2)
        with page.news("chat", text="hi") as news:
            assert any(value.get("status") == "Waiting: number 1 in line" for value in news)
            assert held.health()["waiting"] == 1
            with pytest.raises(Refused, match="All 2 slots and 1 places are taken"):
                page.chat("hi")
        until(lambda: held.health()["waiting"] == 0)
        assert held.engine.cancelled == 1
        held.go_on.set()
        held.idle()


def test_the_engines_waiting_room_is_the_only_one():
    go_on = threading.Event()
    engine = FakeEngine(lambda request: [go_on], slots=2, queue=60)
    settings = Settings(port=0, slots=2, queue=60)
    with running(engine, settings) as server, Page(server.url) as page, ThreadPoolExecutor(50) as p:
        told = [p.submit(page.say, "hi") for _ in range(50)]
        until(lambda: server.health()["waiting"] == 48)
        go_on.set()
        assert all('"finish": "stop"' in each.result() for each in told)


def test_stop_keeps_what_was_written(held):
    with Page(held.url) as page:
        with page.news("chat", text="hi", run="number-1") as news:
            first_text(news)
            for _ in range(2):  # once more changes nothing
                page.ask("stop", {"run": "number-1"})
            *_, last = news
        turn = last["turn"]
        assert (turn["text"], turn["finish"]) == ("Once", "cancelled")
        page.turns = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Once", "ids": turn["ids"], "finish": "cancelled"},
        ]
        held.idle()
        held.go_on.set()
        assert "Once more." in page.say("again")
    assert "Assistant:Once\n\nHuman: again" in held.engine.prompt()


def test_an_engine_that_fails_keeps_what_was_written():
    scripts = [["Half", EngineError("The machine ran out of memory.")], ["Whole."]]
    with running(FakeEngine(scripts)) as server, Page(server.url) as page:
        told = page.say("hi")
        assert "The machine ran out of memory." in told and "Half" in told
        assert "Whole." in page.say("again")


def test_who_calls_by_name_gets_what_was_written_before_a_failure():
    scripts = [["Half", EngineError("The machine ran out of memory.")]]
    with running(FakeEngine(scripts)) as server, Page(server.url) as page:
        answer = page.post("/gradio_api/call/v2/chat", {"message": "hi"})
        path = f"/gradio_api/call/chat/{answer.json()['event_id']}"
        told = page.http.get(path).text
    assert '["Half"]' in told[: told.index("The machine ran out of memory.")]


def test_an_unknown_failure_is_one_sentence(caplog):
    scripts = [["Half", RuntimeError("secret detail")], ["Whole."]]
    with running(FakeEngine(scripts)) as server, Page(server.url) as page:
        told = page.say("hi")
        assert "secret detail" not in told and "Something went wrong" in told
        assert "Whole." in page.say("again")
    assert "secret detail" in caplog.text  # the log has it


def test_an_empty_reply_is_said():
    with running(FakeEngine(["", "Hello."])) as server, Page(server.url) as page:
        page.say("hi")
        assert page.turns[-1]["content"] == "" and page.turns[-1]["finish"] == "stop"
        assert "Hello." in page.say("again")


def test_turns_that_left_the_window_are_marked():
    engine = FakeEngine("word " * 60, window=1024)
    with running(engine, max_new_tokens=320) as server, Page(server.url) as page:
        told = [page.say(f"message {number}") for number in range(8)]
        assert '"dropped": []' in told[0]
        dropped = json.loads(told[-1])[-1]["receipt"]["dropped"]
        assert dropped == list(range(len(dropped))) and dropped
    assert all(len(r.ids) + r.max_new_tokens <= 1024 for r in engine.requests)


# -- login, proxies, the public link ---------------------------------------------------------


def routes_of(app):
    """All paths of an app, those of its included routers too."""
    for route in app.routes:
        if hasattr(route, "path"):
            yield route.path
        else:
            yield from routes_of(route.original_router)


def test_with_a_login_nothing_answers_before_it():
    settings = Settings(port=0, auth=("ada", "secret"))
    with running(FakeEngine("Hi."), settings) as server:
        health = server.get("/health")
        assert health.status_code == 200
        paths = set(routes_of(server.app.state.gradio))
        asked = 0
        for path in paths:
            if "gradio_api" not in path and path != "/config":
                continue
            path = path.replace("{session_hash}", "x").replace("{api_name}", "chat")
            path = path.replace("{event_id}", "x").split("{")[0]
            for method in ("GET", "POST"):
                body = {"data": ["hi"], "session_hash": "x", "fn_index": 0, "event_id": "x"}
                content = None if method == "GET" else json.dumps(body)
                answer = server.request(
                    method,
                    path,
                    content=content,
                    headers={"content-type": "application/json"},
                )
                open_ones = ("/gradio_api/login_check", "/gradio_api/user", "/gradio_api/theme.css")
                if not path.rstrip("/").endswith(open_ones):
                    assert answer.status_code in (401, 403, 404, 405), (method, path)
                asked += 1
        assert asked > 50
        wrong = server.post("/login", data={"username": "ada", "password": "x"})
        assert wrong.status_code == 400
        client = Client(server.url, auth=("ada", "secret"), verbose=False)
        assert client.predict(message="hi", api_name="/chat") == "Hi."


@pytest.mark.parametrize("prefix", ["", "/assistant"])
def test_behind_a_proxy_that_strips_its_prefix_or_does_not(prefix):
    settings = Settings(port=0, root_path="/assistant", allow_host=("proxy.example",))
    headers = {"host": "proxy.example", "origin": "https://proxy.example"}
    with running(FakeEngine("Hi."), settings) as server:
        health = server.get(f"{prefix}/health", headers=headers)
        assert health.status_code == 200
        page = server.get(f"{prefix}/", headers=headers)
        assert page.status_code == 200
        config = server.get(f"{prefix}/config", headers=headers).json()
        assert config["root"].endswith("/assistant")
        assert server.get("/assistantx/health", headers=headers).status_code == 404
        answer = server.post(
            f"{prefix}/gradio_api/call/v2/chat", json={"message": "hi"}, headers=headers
        )
        assert answer.status_code == 200


HEARSAY = [
    ("x-forwarded-host", "evil.example", None),
    ("x-forwarded-host", "evil.example, proxy.example", None),
    ("x-forwarded-host", "proxy.example:99", None),
    ("x-forwarded-host", "proxy.example?", None),
    ("x-forwarded-host", "localhost:99", None),
    ("x-gradio-server", "https://evil.example", None),
    ("x-gradio-server", "https://proxy.example", None),
    ("x-forwarded-host", "proxy.example", "proxy.example"),
    ("x-forwarded-host", "proxy.example, 127.0.0.1", "proxy.example"),
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("prefix", ["", "/assistant"])
def test_only_a_name_of_ours_becomes_the_pages_address(prefix, scheme):
    settings = Settings(port=0, root_path=prefix, allow_host=("proxy.example",))
    with running(FakeEngine("Hi."), settings) as server:
        for name, value, becomes in HEARSAY:
            headers = {name: value, "x-forwarded-proto": scheme}
            root = f"{scheme}://{becomes or server.url.removeprefix('http://')}{prefix}"
            assert server.get("/config", headers=headers).json()["root"] == root, (name, value)
            page = server.get("/", headers=headers).text
            assert "evil.example" not in page and f'"root":"{root}"' in page


def test_the_public_link_is_let_in_and_said(monkeypatch):
    from gradio import networking

    asked = []

    def tunnel(host, port, *rest):
        asked.append((host, port))
        return "http://abc123.gradio.live"

    monkeypatch.setattr(networking, "setup_tunnel", tunnel)
    with running(FakeEngine("Hi."), Settings(port=0, share=True)) as server:
        until(lambda: server.said)
        assert server.said == ["Public link: https://abc123.gradio.live"]
        assert asked == [("127.0.0.1", int(server.url.rpartition(":")[2]))]
        headers = {"host": "abc123.gradio.live", "origin": "https://abc123.gradio.live"}
        assert server.get("/", headers=headers).status_code == 200
        answer = server.post("/gradio_api/call/v2/chat", json={"message": "hi"}, headers=headers)
        assert answer.status_code == 200


def test_without_a_network_the_local_page_goes_on(monkeypatch):
    from gradio import networking

    monkeypatch.setattr(networking, "GRADIO_API_SERVER", "http://127.0.0.1:9/")
    with running(FakeEngine("Hi."), Settings(port=0, share=True)) as server:
        until(lambda: server.said)
        assert server.said[0].startswith("No public link could be made")
        assert server.url in server.said[0]
        with Page(server.url) as page:
            assert page.call("chat", message="hi") == "Hi."


def test_on_a_space_the_hub_may_frame_the_page():
    settings = Settings(port=0, on_space=True, space_host="me-mine.hf.space")
    with running(FakeEngine("Hi."), settings) as server:
        answer = server.get("/", headers={"host": "me-mine.hf.space"})
        assert answer.status_code == 200
        assert "https://huggingface.co" in answer.headers["content-security-policy"]
