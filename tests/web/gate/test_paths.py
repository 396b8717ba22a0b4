"""Addresses and bodies as clients send them: slashes too many, HEAD, no word of JSON."""

import json

import pytest

from assistant.settings import Settings
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running

RAW = b'{"prompt": "def f", "inputs": "def f"}'


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine("Fine.")) as server:
        yield server


@pytest.fixture(autouse=True)
def healthy(server, script):
    yield
    script("Fine.")
    answer = server.post("/generate", json={"inputs": "x"})
    assert answer.json() == {"generated_text": "Fine."}


@pytest.mark.parametrize(
    "path",
    ["//v1/models", "/v1/models/", "/v1//models", "/v1/models/fake/", "//v1//models//fake//"],
)
def test_slashes_too_many(server, path):
    assert server.get(path).json() == server.get(path.replace("//", "/").rstrip("/")).json()


@pytest.mark.parametrize(
    "path",
    ["//v1/completions", "/v1/completions/", "//generate", "/generate/", "/generate_stream//"],
)
def test_posts_with_slashes_too_many(server, path):
    answer = server.post(path, content=RAW)
    assert answer.status_code == 200
    assert ('"text":"."' if "stream" in path else "Fine.") in answer.text
    refused = server.post(path, content=b"{}")
    form = {"error", "error_type", "detail"} if "generate" in path else {"error", "detail"}
    assert refused.json().keys() == form


@pytest.mark.parametrize("path", ["//page/facts", "/page/facts/", "//", "/page//static/main.js"])
def test_the_page_has_one_address(server, path):
    assert server.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/v1/models/fake", "/health", "/info", "/props"]
)
def test_head_is_get_without_a_body(server, path):
    head, get = server.request("HEAD", path), server.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    refused = server.request("HEAD", "/v1/completions")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


KINDS = [None, "text/plain", "application/x-www-form-urlencoded", "text/plain; charset=x", "a/b"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["/v1/completions", "/generate", "/"])
def test_a_body_is_json_whatever_it_is_called(server, path, kind):
    headers = {} if kind is None else {"content-type": kind}
    answer = server.post(path, content=RAW, headers=headers)
    assert answer.status_code == 200 and "Fine." in answer.text
    bad = server.post(path, content=b"prompt=x", headers=headers)
    assert bad.json()["detail"] == "The body of the request is not JSON."


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["/v1/completions", "/generate", "/"])
def test_a_form_of_another_site_is_refused(server, path, kind, origin):
    headers = {"origin": origin} | ({} if kind is None else {"content-type": kind})
    assert server.post(path, content=RAW, headers=headers).status_code == 403
    assert server.engine.requests == []


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_page_takes_json_alone(server, kind):
    body = json.dumps({"run": "number-1", "turns": [], "text": "Hi"})
    with Page(server.url) as page:
        assert page.ask("chat", body, **{"content-type": kind}).status_code == 415
    assert server.engine.requests == []


def test_behind_a_proxy_with_a_path():
    with running(settings=Settings(port=0, root_path="/models")) as server:
        assert server.get("/models//v1/models/").json()["data"][0]["id"] == "fake"
