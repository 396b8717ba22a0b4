"""Requests made up from the application's own schema: nothing may fail, and the server goes on."""

import json
import socket

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies

from assistant.web.gate.security import FAILED
from tests.support.fake_engine import FakeEngine
from tests.support.server import running
from tests.support.waiting import until

PATHS = {
    "/health",
    "/metrics",
    "/v1/models",
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/responses",
    "/generate",
    "/generate_stream",
    "/info",
    "/tokenize",
    "/tokenizer_info",
    "/detokenize",
    "/infill",
    "/completion",
    "/props",
    "/overlap",
    *(f"/page/{name}" for name in ("facts", "chat", "again", "stop", "count", "prompt", "render")),
    "/page/sources",
    *(f"/page/{name}" for name in ("look", "complete", "complete/stop", "inspect", "template")),
    "/page/library",
    "/page/library/use",
}
ANSWERED = ["/v1/completions", "/v1/chat/completions", "/generate", "/generate_stream", "/",
            "/v1/responses", "/tokenize", "/infill", "/completion",
            "/page/chat", "/page/count", "/page/prompt", "/page/render", "/page/look",
            "/page/complete", "/page/inspect", "/page/template"]  # fmt: skip
POSTS = [*ANSWERED, "/detokenize", "/page/again", "/page/sources", "/page/stop",
         "/page/complete/stop", "/page/library", "/page/library/use"]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine("Hello.", window=32_768)) as server:
        yield server


@pytest.fixture(autouse=True)
def healthy(server):
    """Every test ends with a healthy request, and nothing runs or waits any more."""
    yield
    answer = server.post("/v1/completions", json={"prompt": "hi"})
    assert answer.status_code == 200 and answer.json()["choices"][0]["text"] == "Hello."
    until(lambda: server.health()["running"] == server.health()["waiting"] == 0)


def fuzz(server, count):
    """Try `count` cases, about half of them valid."""
    described = server.app.openapi()
    assert set(described["paths"]) >= PATHS
    schema = schemathesis.openapi.from_dict(described)
    kinds = [schema.as_strategy(mode) for mode in schemathesis.GenerationMode]

    @hypothesis.settings(max_examples=count, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(strategies.one_of(kinds))
    def check(case):
        answer = case.call(base_url=server.url, timeout=60, headers={"origin": server.url})
        assert answer.status_code < 500 and FAILED not in answer.text, answer.text

    check()


def test_two_hundred_cases(server):
    fuzz(server, 200)


@pytest.mark.soak
def test_two_thousand_cases(server):
    fuzz(server, 2000)


# Most of what a schema gives is refused at its first odd value. These bodies get further: each
# value is more often right than wrong.

TEXT = strategies.text(min_size=1, max_size=30) | strategies.sampled_from(
    ["Hello", "<fim_prefix>", "\n\n"]
)
IDS = strategies.lists(strategies.integers(0, 260), max_size=20)
ODD = strategies.none() | strategies.integers() | strategies.floats() | TEXT | IDS
FLAGS = strategies.booleans()
ROLES = strategies.sampled_from(["user", "assistant", "user", "assistant", "system"])
TURN = {"role": "user", "content": "Hi?", "pinned": True}
TURNS = strategies.sampled_from([[], [TURN], [TURN, {"role": "assistant", "content": "Yes."}]])
MESSAGES = strategies.lists(
    strategies.fixed_dictionaries({"role": ROLES, "content": TEXT}), max_size=4
).map(lambda messages: [*messages, {"role": "user", "content": "Hi?"}])

MARKS = strategies.fixed_dictionaries(
    {
        "start": strategies.integers(-2, 30),
        "end": strategies.integers(-2, 30),
        "kind": strategies.sampled_from(["short", "long", "known"]),
    }
)
REPLIES = strategies.fixed_dictionaries(
    {"text": TEXT, "marks": strategies.lists(MARKS, max_size=3)}
)


def mostly(good):
    return strategies.integers(0, 9).flatmap(lambda n: ODD if n == 7 else good)


OPTIONS = {
    "max_tokens": strategies.integers(1, 60),
    "max_new_tokens": strategies.integers(1, 60),
    "temperature": strategies.floats(0, 2),
    "top_p": strategies.floats(0.01, 1),
    "top_k": strategies.integers(0, 50),
    "min_p": strategies.floats(0, 1),
    "repetition_penalty": strategies.floats(0.5, 2),
    "seed": strategies.integers(0, 2**32),
    "stop": TEXT | strategies.lists(TEXT, max_size=3),
    "n": strategies.integers(1, 4),
    "stream": FLAGS,
    "stream_options": strategies.fixed_dictionaries({"include_usage": FLAGS}),
    "logprobs": strategies.integers(0, 5) | FLAGS,
    "top_logprobs": strategies.integers(0, 5),
    "echo": FLAGS,
    "suffix": TEXT,
    "details": FLAGS,
    "decoder_input_details": FLAGS,
    "do_sample": FLAGS,
    "return_full_text": FLAGS,
    "truncate": strategies.integers(1, 30),
    "best_of": strategies.integers(1, 2),
}
SETTINGS = strategies.lists(
    strategies.sampled_from(sorted(OPTIONS)), max_size=4, unique=True
).flatmap(
    lambda names: strategies.fixed_dictionaries({name: mostly(OPTIONS[name]) for name in names})
)
REQUESTS = strategies.tuples(
    strategies.fixed_dictionaries(
        {
            "prompt": mostly(TEXT | IDS | strategies.lists(TEXT | IDS, max_size=3)),
            "messages": mostly(MESSAGES),
            "inputs": mostly(TEXT),
            "input": mostly(TEXT | MESSAGES),
            "input_prefix": mostly(TEXT),
            "input_extra": mostly(strategies.just([{"text": "x"}])),
            "parameters": mostly(SETTINGS),
            "run": mostly(strategies.text(min_size=8, max_size=40)),
            "turns": mostly(TURNS),
            "text": mostly(TEXT),
            "settings": mostly(SETTINGS),
            "receipt": mostly(strategies.none()),
            "to": mostly(strategies.sampled_from(["see", "playground"])),
            "replies": mostly(strategies.lists(REPLIES, max_size=3)),
            "segments": mostly(strategies.lists(strategies.tuples(TEXT, FLAGS), max_size=4)),
            "sampling": mostly(SETTINGS),
            "begun": mostly(IDS),
            "toml": mostly(TEXT),
        }
    ),
    SETTINGS,
).map(lambda parts: parts[0] | parts[1])


def fuzz_further(server, path, count):
    answered = 0

    @hypothesis.settings(max_examples=count, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(REQUESTS)
    def check(body):
        nonlocal answered
        if path == "/v1/responses":  # there it is a format
            body.pop("text")
        headers = {"content-type": "application/json", "origin": server.url}
        answer = server.post(path, content=json.dumps(body), headers=headers, timeout=60)
        assert answer.status_code < 500, answer.text
        assert FAILED not in answer.text
        answered += answer.status_code == 200

    check()
    assert answered


@pytest.mark.parametrize("path", ANSWERED)
def test_requests_that_are_nearly_right(server, path):
    fuzz_further(server, path, 40)


@pytest.mark.soak
@pytest.mark.parametrize("path", ANSWERED)
def test_many_requests_that_are_nearly_right(server, path):
    fuzz_further(server, path, 400)


BODIES = {
    "nothing": b"",
    "cut": b'{"prompt": "hi"',
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "no text": b"\xff\xfe",
    "nan": b'{"prompt": "hi", "temperature": NaN, "inputs": "hi", "parameters": {"top_p": NaN}}',
    "infinite": b'{"prompt": "hi", "max_tokens": 1e999, "inputs": "hi"}',
    "huge": b'{"prompt": "hi", "inputs": "hi", "n": 1' + b"0" * 4000 + b"}",
    "half a character": b'{"prompt": "\\ud83d", "inputs": "\\ud83d", "stop": "\\ud83d"}',
    "a nul": b'{"prompt": "\\u0000", "inputs": "\\u0000", "model": "\\u0000"}',
    "many": b'{"prompt": [' + b'"x",' * 100_000 + b'"x"]}',
    "ids": b'{"prompt": [-1, 99999999999999999999, 0.5, true]}',
    "segments": json.dumps(
        {
            "run": "number-1",
            "text": "x",
            "segments": [["x", True]] * 9_000,
            "begun": [0] * 200_000,
            "ids": [0] * 200_000,
        }
    ).encode(),
    "deep inside": b'{"run": "number-1", "text": "x", "segments": [['
    + b"[" * 9_000
    + b"]" * 9_000
    + b', true]], "sampling": {"seed": '
    + b"9" * 4_200
    + b', "top_p": NaN, "top_k": 1e999}}',
    "half a segment": b'{"run": "number-1", "text": "\\ud83d", "segments": [["\\ud83d", true]], '
    b'"toml": "name = \\"\\ud83d\\"", "name": null, "values": {"\\ud83d": "\\udc00"}}',
    "junk": b'{"run": "number-1", "turns": [5], "text": "x", "to": "see", "receipt": [], '
    b'"settings": {"template": "../x", "seed": 1e999}, "replies": [{"text": "x", "marks": [{}]}]}',
    "turns": json.dumps({"run": "number-1", "text": "x", "turns": [TURN] * 1001}).encode(),
    "messages": json.dumps({"messages": [{"role": "user", "content": ["x"] * 9}] * 2000}).encode(),
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies_that_no_schema_makes(server, path, body):
    for stream in (b"", b'{"stream": true, '):
        content = stream + body[1:] if stream and body[:1] == b"{" else body
        headers = {"content-type": "application/json", "origin": server.url}
        answer = server.post(path, content=content, headers=headers, timeout=60)
        assert answer.status_code < 500, answer.text


@pytest.mark.parametrize("path", POSTS)
def test_a_client_that_goes_before_its_body_is_whole(server, path):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as sock:
        head = f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\norigin: {server.url}\r\n"
        head += "content-type: application/json\r\n"
        sock.sendall(f'{head}content-length: 500\r\n\r\n{{"prompt": "hi"}}'.encode())
