"""A request's body costs little more than its length, whatever it holds, and is refused in one
sentence: no list is looked at item by item before it is known to be short."""

import asyncio
import json
import time
import tracemalloc

import httpx
import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given, strategies

from assistant.attribution.corpus import Corpus
from assistant.attribution.index import build
from assistant.settings import Settings
from assistant.web.gate.bodies import LISTS, PARTS_MAX, VALUES, count_parts, read_json
from assistant.web.gate.security import FAILED
from assistant.web.pages.playground.tab_base import read_action
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running

SIZE = 1_000_000  # bytes, nearly all that the Gate lets pass
STALL_S = 5.0  # of the loop's own processor time in one go; it was 10.8, and is 0.2 to 1.2
MEMORY_MAX = 50_000_000

POSTS = [
    "/v1/completions",
    "/v1/chat/completions",
    "/generate",
    "/generate_stream",
    "/",
    "/v1/responses",
    "/tokenize",
    "/detokenize",
    "/infill",
    "/completion",
    "/overlap",
    "/gradio_api/queue/join",
    "/gradio_api/call/chat",
    "/gradio_api/call/complete",
    "/gradio_api/call/v2/chat",
    "/gradio_api/call/v2/complete",
    "/gradio_api/cancel",
    "/gradio_api/reset",
    *(
        f"/page/{name}"
        for name in (
            *("chat", "again", "stop", "count", "prompt", "render", "sources"),
            *("library", "library/use", "look", "complete", "complete/stop", "inspect"),
        )
    ),
]


GOOD = {
    "prompt": '"x"',
    "messages": '[{"role":"user","content":"x"}]',
    "inputs": '"x"',
    "document": '"x"',
    "data": '["x"]',
    "session_hash": '"s"',
    "fn_index": "FN",
    "run": '"number-1"',
    "turns": '[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]',
    "text": '"x"',
    "to": '"see"',
    "replies": '[{"text":"x"}]',
}
EMPTY = '""'


def body(**values):
    """One in which nothing but `values`, texts of JSON, can be wrong, on every route."""
    return "{" + ",".join(f'"{key}":{value}' for key, value in (GOOD | values).items()) + "}"


def many(item, size=SIZE - 1_000):
    return "[" + ",".join([item] * (size // (len(item) + 1))) + "]"


def keys(value, count=70_000):
    return "{" + ",".join(f'"{n}":{value}' for n in range(count)) + "}"


def deep(depth):
    return "[" * depth + "]" * depth


def said(content):
    return '[{"role":"user","content":' + content + "}]"


BODIES = {
    "stops that are numbers": body(stop=many("1")),
    "stops that are lists": body(stop=many("[]")),
    "stops": body(stop=many(EMPTY)),
    "prompts that are objects": body(prompt=many("{}")),
    "prompts that are nothing": body(prompt=many("null")),
    "prompts that are lists": body(prompt=many("[]")),
    "prompts that are pairs": body(prompt=many("[1,2]")),
    "a prompt of texts in a list": body(prompt=f"[{many(EMPTY)}]"),
    "prompts of half a number": body(prompt=many("0.5")),
    "numbers and then a text": body(prompt=f'[{"1," * 400_000}"a"]'),
    "ids": body(prompt=many("1")),
    "texts": body(prompt=many(EMPTY)),
    "ids of thousands of digits": body(prompt=many("9" * 4_300)),
    "messages that are numbers": body(messages=many("1")),
    "messages that are empty": body(messages=many("{}")),
    "messages of nobody": body(messages=many('{"a":1}')),
    "messages": body(messages=many(said(EMPTY)[1:-1])),
    "content that is numbers": body(messages=said(many("1"))),
    "content in blocks": body(messages=said(many('{"type":"text","text":""}'))),
    "content of keys": body(messages=said(keys(1))),
    "biases": body(logit_bias=keys(EMPTY)),
    "tools": body(tools=many("[]")),
    "functions": body(functions=many("1")),
    "a format of keys": body(response_format=keys(1)),
    "options that are numbers": body(stream_options=many("1")),
    "parameters that are numbers": body(parameters=many("1")),
    "a stop of parameters": body(parameters='{"stop":' + many("1") + "}"),
    "a grammar": body(parameters='{"grammar":' + keys("{}") + "}"),
    "inputs": body(inputs=many("1")),
    "a document": body(document=many("1")),
    "keys": keys(1),
    "other keys": body(other=keys("[]")),
    "depth": deep(SIZE // 2),
    "depth again and again": body(prompt="[" + ",".join([deep(400)] * 1_000) + "]"),
    "depth in all of it": body(**dict.fromkeys(GOOD, deep(900))),
    "a long prompt": body(prompt=f'"{"a" * (SIZE - 1_000)}"'),
    "a long model": body(model='"' + r"\u0001" * 150_000 + '"'),
    "a number of a million digits": body(n="1" * (SIZE - 1_000)),
    "a list": many("1"),
    "data that is numbers": body(data=many("1")),
    "data that is lists": body(data=many("[]")),
    "data that is files": body(data=many('{"path":"a","meta":{"_type":"gradio.FileData"}}')),
    "a datum of numbers": body(data=f"[{many('1')}]"),
    "an event of lists": body(event_data=many("[]")),
    "a message of lists": '{"message":' + many("[]") + "}",
    "a history of numbers": '{"message":"x","history":' + many("1") + "}",
    "turns that are numbers": body(turns=many("1")),
    "turns that are empty": body(turns=many("{}")),
    "a turn of ids": body(
        turns=said(EMPTY)[:-1] + ',{"role":"assistant","ids":' + many("1") + "}]"
    ),
    "a turn of blocks": body(turns=said(many('{"type":"text","text":""}'))),
    "settings of keys": body(settings=keys(1)),
    "a seed of a million digits": body(settings='{"seed":' + "1" * (SIZE - 1_000) + "}"),
    "a template that is a list": body(settings='{"template":' + many("1") + "}"),
    "a receipt of keys": body(receipt=keys(1)),
    "a receipt that left much": body(receipt='{"dropped":' + many("1") + "}"),
    "replies that are numbers": body(replies=many("1")),
    "replies that are few numbers": body(replies=many("1", 1_800)),
    "replies without a text": body(replies=many("{}")),
    "marks that are numbers": body(replies='[{"text":"x","marks":' + many("1") + "}]"),
    "marks that are few numbers": body(replies='[{"text":"x","marks":' + many("1", 190) + "}]"),
    "a text of lists": body(text=many("[]")),
    "a long text": body(text=f'"{"a" * (SIZE - 1_000)}"'),
    "a long run": body(run=f'"{"a" * (SIZE - 1_000)}"'),
    "lists in another alphabet": body(prompt=many("[]", SIZE // 3)).encode("utf-16"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    (folder / "corpus.jsonl").write_text('{"text": "x = 1", "path": "a.py"}')
    build(Corpus(folder / "corpus.jsonl"), folder / "index.db")
    settings = Settings(port=0, sources=str(folder / "index.db"))
    with running(FakeEngine("Hello.", window=4_000), settings) as server:
        with Page(server.url) as page:  # Gradio imports what it needs with its first event
            values = ["x <FILL_HERE>", "PSM", 9, 1, "", "", 0, 1, 0, 1, 0, None]
            assert "Hello." in page.run(page.event("fill-in", "click"), values)
        yield server


@pytest.fixture
def seen(monkeypatch):
    """What was measured so far: the longest step of an event loop in seconds of its thread's own
    time, and the most errors that were found in one body."""
    seen = {"stall": 0.0, "errors": 0}
    run, begin = asyncio.events.Handle._run, RequestValidationError.__init__

    def timed(self):
        begun = time.thread_time()
        run(self)
        seen["stall"] = max(seen["stall"], time.thread_time() - begun)

    def counted(self, errors, **options):
        seen["errors"] = max(seen["errors"], len(errors))
        begin(self, errors, **options)

    monkeypatch.setattr(asyncio.events.Handle, "_run", timed)
    monkeypatch.setattr(RequestValidationError, "__init__", counted)
    return seen


def post(server, client, path, body, function):
    body = body if isinstance(body, bytes) else body.replace("FN", str(function)).encode()
    assert len(body) < 1 << 20
    headers = {"content-type": "application/json", "origin": server.url}
    return client.post(server.url + path, content=body, headers=headers, timeout=120)


def healthy(server, client):
    answer = client.post(f"{server.url}/v1/completions", json={"prompt": "x"}, timeout=60)
    assert answer.json()["choices"][0]["text"] == "Hello."


@pytest.mark.parametrize("path", POSTS)
def test_no_body_costs_more_than_its_length(server, seen, path):
    with Page(server.url) as page:
        function = page.event("fill-in", "click")
    with httpx.Client() as client:
        for name, body in BODIES.items():
            answer = post(server, client, path, body, function)
            assert answer.status_code < 500 and FAILED not in answer.text, (name, answer.text)
            if answer.status_code != 200:
                sentence = answer.json()["detail"]
                assert "\n" not in sentence and len(answer.text) < 1_000, (name, answer.text)
            assert seen["stall"] < STALL_S, (name, seen)
            assert seen["errors"] <= 20, (name, seen)
        healthy(server, client)


MINE = {
    "/v1/completions": ("stops that are numbers", "stops", "prompts that are objects", "ids",
                        "prompts that are nothing", "a prompt of texts in a list", "texts",
                        "numbers and then a text", "ids of thousands of digits", "biases",
                        "options that are numbers", "a number of a million digits", "depth",
                        "a long prompt", "a long model", "lists in another alphabet"),
    "/v1/chat/completions": ("messages that are numbers", "messages that are empty", "messages",
                             "content that is numbers", "content in blocks", "content of keys",
                             "tools", "functions", "a format of keys"),
    "/generate": ("parameters that are numbers", "a stop of parameters", "a grammar", "inputs"),
    "/overlap": ("a document",),
    "/page/chat": ("turns that are numbers", "turns that are empty", "a turn of ids",
                   "a turn of blocks", "a seed of a million digits", "a text of lists",
                   "a template that is a list", "a long text", "a long run"),
    "/page/again": ("a receipt of keys", "a receipt that left much"),
    "/page/count": ("a text of lists",),
    "/page/prompt": ("a receipt of keys", "turns that are numbers"),
    "/page/render": ("replies that are numbers", "replies that are few numbers",
                     "replies without a text", "marks that are numbers",
                     "marks that are few numbers"),
    "/page/sources": ("a text of lists",),
}  # fmt: skip


@pytest.mark.parametrize("path, names", MINE.items())
def test_what_is_wrong_is_refused(server, path, names):
    with httpx.Client() as client:
        for name in names:
            answer = post(server, client, path, BODIES[name], 0)
            assert 400 <= answer.status_code < 500, (name, answer.text)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/gradio_api/reset"])
def test_no_body_takes_more_memory_than_it_may(server, path):
    names = ("stops that are numbers", "stops", "prompts that are pairs", "texts", "keys",
             "messages of nobody", "depth again and again", "biases")  # fmt: skip
    with httpx.Client() as client:
        tracemalloc.start()
        try:
            for name in names:
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
                post(server, client, path, BODIES[name], 0)
                _, peak = tracemalloc.get_traced_memory()
                assert peak - before < MEMORY_MAX, name
        finally:
            tracemalloc.stop()
        healthy(server, client)


# -- how it is counted -------------------------------------------------------------------------

JSON = strategies.recursive(
    strategies.none() | strategies.integers() | strategies.text(alphabet='[]{},"\\a\n', max_size=8),
    lambda inner: (
        strategies.lists(inner, max_size=4)
        | strategies.dictionaries(
            strategies.text(alphabet='[{,"\\a', max_size=4), inner, max_size=4
        )
    ),
)


def held(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, list | dict) + sum(map(held, inner))


@given(JSON, strategies.booleans())
def test_brackets_in_strings_are_not_counted(value, plain):
    # The last list is long enough that the strings before it are looked into.
    body = json.dumps([value, [[]] * PARTS_MAX], ensure_ascii=plain)
    assert count_parts(body.encode()) == held(value) + PARTS_MAX + 2


@pytest.mark.parametrize(
    "body, found",
    [
        (b"[" * 30_000, 30_000),
        (b'"' + b"[" * 30_000, 0),
        (b'"\\"' + b"[" * 30_000 + b'"[', 1),
        (b'"\\\\"' + b"[" * 30_000, 30_000),
        (b'"\\\\\\"' + b"[" * 30_000 + b'"[[', 2),
        (("[" * 30_000).encode("utf-16"), 30_000),
        (('"\\""' + "[" * 30_000).encode("utf-16-le"), 30_000),
        (b"{" * 30_000, 30_000),
        (b"," * 30_000, 0),
    ],
)
def test_what_is_counted(body, found):
    assert count_parts(body, LISTS) == found
    assert count_parts(body, VALUES) == found + body.count(b",")


@pytest.mark.parametrize(
    "text", [None, 5, "", "[", "[" * 500, "[" * 100_000, deep(3_000), many("[]"), "{'a': 1}", "\0"]
)
def test_json_within_json_that_is_none(text):
    with pytest.raises(ValueError):
        read_json(text)
    assert read_json('{"a": ["[[[", 1.5]}') == {"a": ["[[[", 1.5]}
    assert read_json(json.dumps("\ud800")) == "\ud800"
    assert read_action(text) == ("", [])
