"""Pages of other sites as clients of the APIs: what a browser asks beforehand, and is told."""

import pytest

from assistant.errors import SettingsError
from assistant.settings import Settings, read_settings
from tests.support.server import running

NOTES, CODE, OTHER = "app://obsidian.md", "vscode-webview://1a2b3c", "https://elsewhere.example"
API = [
    ("POST", "/v1/completions"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/generate"),
    ("POST", "/"),
    ("POST", "/infill"),
    ("POST", "/tokenize"),
    ("GET", "/v1/models"),
    ("GET", "/info"),
    ("GET", "/health"),
]
CLOSED = [
    ("GET", "/"),
    ("GET", "/config"),
    ("POST", "/page/chat"),
    ("GET", "/page/facts"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/call/chat"),
    ("POST", "/overlap"),
    ("GET", "/metrics"),
    ("POST", "/login"),
]
BODY = {"prompt": "x", "inputs": "x"}


def ask_before(server, method, path, origin, headers="authorization,content-type"):
    asked = {"access-control-request-method": method, "access-control-request-headers": headers}
    return server.request("OPTIONS", path, headers={"origin": origin, **asked})


def told(answer):
    return {name for name in answer.headers if name.startswith("access-control-")}


@pytest.fixture(scope="module")
def server():
    with running(settings=Settings(port=0, allow_origin=(NOTES, CODE), api_key="k")) as server:
        yield server
        key = {"authorization": "Bearer k"}
        assert server.post("/generate", json=BODY, headers=key).status_code == 200


@pytest.mark.parametrize("method, path", API)
@pytest.mark.parametrize("origin", [NOTES, CODE])
def test_a_named_page_may_ask(server, method, path, origin):
    answer = ask_before(server, method, path, origin, "authorization, X-Stainless-OS,x-secret")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert method in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("key, status", [("Bearer k", 200), ("Bearer wrong", 401)])
def test_it_may_read_answers_and_errors(server, key, status):
    headers = {"origin": NOTES, "authorization": key}
    for answer in (
        server.post("/v1/completions", json=BODY, headers=headers),
        server.post("/v1/completions", json={**BODY, "stream": True}, headers=headers),
        server.post("/generate", json=BODY, headers=headers),
        server.get("/v1/models", headers=headers),
    ):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == NOTES
        assert "Origin" in answer.headers["vary"]
        assert answer.headers["access-control-expose-headers"] == "Retry-After, X-Request-ID"


def test_it_may_read_that_there_is_nothing(server):
    for path in ("/v1/embeddings", "/v1/x/y"):
        assert ask_before(server, "POST", path, NOTES).status_code == 204
        answer = server.post(path, json=BODY, headers={"origin": NOTES})
        assert answer.status_code == 404 and answer.json()["error"]["message"]
        assert answer.headers["access-control-allow-origin"] == NOTES
        assert ask_before(server, "POST", path, OTHER).status_code == 403
        answer = server.post(path, json=BODY, headers={"origin": OTHER})
        assert answer.status_code == 403 and not told(answer)


@pytest.mark.parametrize(
    "origin", [OTHER, "null", "", "*", "app://obsidian.md.example", NOTES + "/"]
)
def test_others_may_not(server, origin):
    for method, path in API:
        answer = ask_before(server, method, path, origin)
        assert answer.status_code in (403, 405) and not told(answer)
    answer = server.post("/v1/completions", json=BODY, headers={"origin": origin})
    assert answer.status_code == 403 and not told(answer)
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("method, path", CLOSED)
def test_the_page_stays_closed(server, method, path):
    asked = ask_before(server, method, path, NOTES)
    assert asked.status_code in (403, 404, 405) and not told(asked)
    answer = server.request(method, path, headers={"origin": NOTES}, json={})
    assert not told(answer)
    if method == "POST":
        assert answer.status_code in (403, 404)


def test_closed_unless_told_otherwise():
    with running() as server:
        answer = ask_before(server, "POST", "/v1/completions", NOTES)
        assert answer.status_code == 403 and not told(answer)
        answer = server.get("/v1/models", headers={"origin": NOTES})
        assert answer.status_code == 200 and not told(answer) and "vary" not in answer.headers


def test_all_pages_with_a_key():
    with running(settings=Settings(port=0, allow_origin=("*",), api_key="k")) as server:
        for origin in (NOTES, OTHER):
            answer = ask_before(server, "POST", "/generate", origin)
            assert answer.headers["access-control-allow-origin"] == origin
        assert not told(ask_before(server, "POST", "/generate", "null"))
        assert not told(ask_before(server, "POST", "/page/chat", OTHER))
        headers = {"origin": OTHER, "authorization": "Bearer k"}
        assert server.post("/generate", json=BODY, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "given, origin",
    [
        ("https://Notes.example/", "https://notes.example"),
        ("https://notes.example:443", "https://notes.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
        (NOTES, NOTES),
        (CODE, CODE),
    ],
)
def test_origins_are_read_as_browsers_send_them(given, origin):
    assert read_settings(["--allow-origin", given], {}).allow_origin == (origin,)
    assert read_settings([], {"ASSISTANT_ALLOW_ORIGIN": f"{given}, a://b"}).allow_origin == (
        *(origin, "a://b"),
    )


@pytest.mark.parametrize(
    "given",
    [
        *("null", "notes.example", "https://a.example/path", "https://*.a", ""),
        *("https://münchen.example", "https://[::1", "https://a.example:99999", "file://x"),
        *("http://a.example:0080", "http://a.example:", "http://:80", "http://a.example:0"),
        *("https://a b", "https://a\\b", "https://a%41", "https://u@a.example", "https://a\t.b"),
    ],
)
def test_what_is_no_origin(given):
    with pytest.raises(SettingsError, match="must be an origin like https://example.org"):
        read_settings(["--allow-origin", given], {})


def test_all_pages_need_a_key():
    with pytest.raises(SettingsError, match=r"--allow-origin \* lets the pages of all sites use"):
        read_settings(["--allow-origin", "*"], {})
    assert read_settings(["--allow-origin", "*", "--api-key", "k"], {}).allow_origin == ("*",)
