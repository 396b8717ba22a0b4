"""What another server answers, whichever route it is for, has an end in bytes, in seconds and in
JSON's parts; each way of going beyond it is one sentence, and the next request works."""

import asyncio
import gzip
import json
from contextlib import contextmanager
from functools import cache
from itertools import chain, repeat

import pytest

from assistant.engine.remote import http
from assistant.engine.remote.http import Fault, ask, detail, events, make_client
from assistant.errors import AssistantError, EngineDead, EngineError, SettingsError
from tests.engine.remote.test_engine import healthy
from tests.support.reading import greedy, read
from tests.support.scripted_server import Bytes, llama_cpp, serving, tgi, vllm

MUCH = 48 << 20  # bytes that an endless answer ends at, so that a mistake here ends too
BUFFERS = 24 << 20  # what may be on its way between two sockets
SMALL = 1 << 20

HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n"


def body(data, *fields):
    """An answer with `data` as its body."""
    head = HEAD + b"".join(b"%s\r\n" % field for field in fields)
    return [head + b"content-length: %d\r\n\r\n" % len(data), data]


def endless(piece):
    return chain([HEAD + b"\r\n", b'{"tokens":['], repeat(piece, MUCH // len(piece)))


@cache
def packed(data):
    return body(gzip.compress(data, 1), b"content-encoding: gzip")


ONE = b'{"tokens":[5],"content":"a","data":[]}'
HOSTILE = {
    "endless": lambda: Bytes(endless(b"5," * 30_000)),
    "endless in small pieces": lambda: Bytes(endless(b"5," * 20)),
    "an endless head": lambda: Bytes(chain([HEAD], repeat(b"x-a: b\r\n" * 1000, MUCH // 8000))),
    "answers before the answer": lambda: Bytes(repeat(b"HTTP/1.1 102 Wait\r\n\r\n", 150), 0.05),
    "a drip": lambda: Bytes(chain([HEAD + b"\r\n{"], repeat(b" ", 150)), 0.05),
    "a drip of the head": lambda: Bytes(chain([HEAD + b"x-a: "], repeat(b"b", 150)), 0.05),
    "compressed": lambda: Bytes(packed(ONE)),
    "compressed zeros": lambda: Bytes(packed(b"0" * MUCH)),
    "compressed in a way of its own": lambda: Bytes(body(ONE, b"content-encoding: x\xff-y")),
    "many parts": lambda: Bytes(body(b'{"tokens":[%s1]}' % (b"[]," * 100_000))),
    "deep": lambda: Bytes(body(b'{"tokens":' + b"[" * 50_000)),
    "deep in time": lambda: Bytes(body(b'{"tokens":' + b'{"a":' * 5000 + b"1" + b"}" * 5001)),
    "a long number": lambda: Bytes(body(b'{"tokens":[1%s]}' % (b"0" * 5000))),
    "no number": lambda: Bytes(body(b'{"tokens":[NaN],"content":NaN,"data":NaN}')),
    "an infinite number": lambda: Bytes(body(b'{"tokens":[1e999],"content":-Infinity}')),
    "no text": lambda: Bytes(body(b'{"tokens":[5],"content":"\xff"}')),
    "a list": lambda: Bytes(body(b"[5]")),
    "nothing": lambda: Bytes(body(b"")),
    "less than promised": lambda: Bytes([HEAD + b"content-length: 99\r\n\r\n", ONE]),
    "no HTTP": lambda: Bytes([b"220 mail ESMTP\r\n"]),
    "a long error": lambda: Bytes(
        chain([b"HTTP/1.1 404 Not\r\n\r\n"], repeat(b"x" * 60_000, MUCH // 60_000))
    ),
}
SLOW = {
    "answers before the answer",
    "a drip",
    "a drip of the head",
    "comments for ever",
    "empty pieces for ever",
}
WRONG_TOKENS = [None, 5, "5", {}, [None], [True], [5.0], ["5"], [-1], [10**9], [10**400], [[5]]]
WRONG_TEXTS = [None, 5, ["a"], {}, True, "a" * 5000]


@contextmanager
def bounds(name):
    """Sizes as a test has them, and no patience for what is slow."""
    with pytest.MonkeyPatch.context() as patch:
        for size in ("QUICK_MAX", "ANSWER_MAX", "LINE_MAX"):
            patch.setattr(http, size, SMALL)
        patch.setattr("assistant.engine.remote.find.QUICK_MAX", SMALL)
        for patience in ("SILENCE_S", "QUICK_S", "REPLY_S") if name in SLOW else ():
            patch.setattr(http, patience, 0.7)
        yield


def one_sentence(error, *secrets):
    sentence = str(error)
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 400
    assert not [secret for secret in secrets if secret in sentence]
    return sentence


def stopped_early(answer, name):
    assert answer.sent < SMALL + BUFFERS
    if name in SLOW:
        assert not answer.ended


# -- the tokenizer behind a route ----------------------------------------------------------------


@pytest.fixture
def served(open_remote, tokenizer):
    """(the engine, a server whose tokenizer is asked for)."""
    with serving(llama_cpp("/models/model.gguf", tokenizer)) as server:
        yield open_remote(server, model="embedded", endpoint_key="s3cret"), server


@pytest.mark.parametrize("route", ["/tokenize", "/detokenize"])
@pytest.mark.parametrize("name", HOSTILE)
def test_the_tokenizers_answer_has_an_end(route, name, served, tokenizer):
    engine, server = served
    routes, answer = server.routes, HOSTILE[name]()
    server.routes = {**routes, ("POST", route): lambda _: answer}
    asked = engine.tokenizer.encode if route == "/tokenize" else engine.tokenizer.decode
    with bounds(name), pytest.raises(EngineError) as caught:
        asked("xyz" if route == "/tokenize" else [77])
    sentence = one_sentence(caught.value, server.url, "s3cret")
    assert ("compresses" in sentence) == name.startswith("compressed")
    stopped_early(answer, name)
    server.routes = routes
    assert engine.tokenizer.encode("def f(x):") == tokenizer.encode("def f(x):")
    healthy(engine, tokenizer)


@pytest.mark.parametrize("value", WRONG_TOKENS, ids=str)
def test_what_are_no_tokens_is_refused(value, served, tokenizer):
    engine, server = served
    route = server.routes["POST", "/tokenize"]
    for answer in ({"tokens": value}, {"token": [5]}):
        server.routes["POST", "/tokenize"] = lambda _, answer=answer: answer
        with pytest.raises(EngineError) as caught:
            engine.tokenizer.encode("x")
        one_sentence(caught.value, server.url)
    server.routes["POST", "/tokenize"] = route
    healthy(engine, tokenizer)


@pytest.mark.parametrize("value", WRONG_TEXTS, ids=str)
def test_what_is_no_text_of_a_token_is_refused(value, served, tokenizer):
    engine, server = served
    route = server.routes["POST", "/detokenize"]
    server.routes["POST", "/detokenize"] = lambda _: {"content": value}
    with pytest.raises(EngineError) as caught:
        engine.tokenizer.texts([77])
    one_sentence(caught.value, server.url)
    server.routes["POST", "/detokenize"] = route
    assert engine.tokenizer.texts([77]) == tokenizer.texts([77])


def test_half_a_surrogate_pair_of_a_tokenizer_goes_no_further(served, tokenizer):
    engine, server = served
    server.routes["POST", "/detokenize"] = lambda _: {"content": "a\ud800"}
    assert engine.tokenizer.decode([77, 78]) == "a\ufffd"


def test_a_closed_engine_tokenizes_nothing(served):
    engine, _ = served
    engine.close()
    with pytest.raises(EngineDead, match="engine is closed"):
        engine.tokenizer.encode("x")


def test_a_question_that_is_open_when_the_engine_closes_is_answered(served):
    engine, server = served

    def close(_):
        engine.close()
        return 503

    server.routes["POST", "/tokenize"] = close
    with pytest.raises(EngineError):
        engine.tokenizer.encode("x")


# -- finding out what a server is ----------------------------------------------------------------


@pytest.mark.parametrize("route", ["/openapi.json", "/v1/models", "/props", "/info"])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_server_says_of_itself_has_an_end(route, name, open_remote, tokenizer):
    """It is refused at the start, or where that one answer is not needed, done without."""
    kind = llama_cpp if route == "/props" else tgi
    answer = HOSTILE[name]()
    with serving(kind("model", tokenizer if kind is llama_cpp else tokenizer.encode)) as server:
        server.routes["GET", route] = lambda _: answer
        try:
            with bounds(name):
                open_remote(server).close()
        except AssistantError as error:
            assert isinstance(error, SettingsError)
            one_sentence(error, "s3cret")
        else:
            assert name not in SLOW and not name.startswith("compressed")
        stopped_early(answer, name)
        server.routes = kind("model", tokenizer if kind is llama_cpp else tokenizer.encode)(server)
        healthy(open_remote(server), tokenizer)


# -- replies -------------------------------------------------------------------------------------


def chunked(pieces, *fields):
    head = HEAD + b"transfer-encoding: chunked\r\n" + b"".join(b"%s\r\n" % f for f in fields)
    yield head + b"\r\n"
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)


STREAMS = {
    "endless comments": lambda: Bytes(chunked(repeat(b": on\n" * 5000, MUCH // 25_000))),
    "endless blank lines": lambda: Bytes(chunked(repeat(b"\n" * 25_000, MUCH // 25_000))),
    "an endless line in small pieces": lambda: Bytes(
        chunked(chain([b"data: "], repeat(b"a" * 50, MUCH // 50)))
    ),
    "comments for ever": lambda: Bytes(chunked(repeat(b": on\n\n", 150)), 0.05),
    "empty pieces for ever": lambda: Bytes(
        chunked(repeat(b'data: {"choices":[{"text":""}]}\n\n', 150)), 0.05
    ),
    "a compressed stream": lambda: Bytes(chunked([b"x"], b"content-encoding: gzip")),
    "many parts": lambda: Bytes(chunked([b"data: {%s}\n\n" % (b'"a":[],' * 70_000)[:-1]])),
    "no number": lambda: Bytes(chunked([b'data: {"choices":[{"text":"a","index":NaN}]}\n\n'])),
}


@pytest.mark.parametrize("name", [*STREAMS, *sorted(set(HOSTILE) - {"many parts", "no number"})])
def test_a_reply_has_an_end(name, model_files, open_remote, tokenizer):
    made = []

    def answer(_):
        made.append((STREAMS.get(name) or HOSTILE[name])())
        return made[-1]

    with serving(vllm(str(model_files), encode=tokenizer.encode)) as server:
        engine = open_remote(server)
        route = server.routes["POST", "/v1/completions"]
        for request in (
            greedy(tokenizer.encode("Say it."), 20),
            greedy(tokenizer.encode("Say it."), 0, prompt_logprobs=2),
        ):
            server.routes["POST", "/v1/completions"] = answer
            with bounds(name), pytest.raises(EngineError) as caught:
                read(engine.generate(request))
            one_sentence(caught.value, server.url)
        for each in made:
            stopped_early(each, name)
        server.routes["POST", "/v1/completions"] = route
        healthy(engine, tokenizer)


def test_at_the_start_a_token_is_not_waited_for_without_end(model_files, open_remote, monkeypatch):
    answer = STREAMS["comments for ever"]()
    monkeypatch.setattr(http, "SILENCE_S", 0.7)
    with serving(vllm(str(model_files))) as server:
        server.routes["POST", "/v1/completions"] = lambda _: answer
        with pytest.raises(SettingsError, match="too slow for 0.7 seconds"):
            open_remote(server)
        assert not answer.ended


WRONG_EVENTS = [
    {"choices": [{"text": "a", "token_ids": [5], "finish_reason": {"a": 1}}]},
    {"choices": [{"text": "a", "token_ids": [5], "finish_reason": 7}]},
    {"choices": [{"text": "a", "token_ids": [5], "stop_reason": 10**9, "finish_reason": "stop"}]},
    {"choices": [{"text": "a", "token_ids": [5], "stop_reason": -1, "finish_reason": "stop"}]},
    {"choices": [{"text": "a", "token_ids": {"5": 5}}]},
    {"choices": [{"text": "a", "token_ids": 5}]},
    {"choices": [{"text": "a", "token_ids": [5], "logprobs": {"token_logprobs": [-1],
     "top_logprobs": [{"token_id:1000000000": -1}]}}]},
    {"choices": [{"text": "a", "token_ids": [5], "logprobs": {"token_logprobs": [-(10**400)],
     "top_logprobs": [{}]}}]},
    {"choices": [{"text": "a", "token_ids": [5], "logprobs": [5]}]},
    {"choices": {"0": {}}},
    {"choices": "abc"},
    {"choices": [7]},
    {"choices": [], "usage": [1]},
    {"choices": [], "usage": {"completion_tokens": -1}},
    {"choices": [], "usage": {"completion_tokens": 10**30}},
    {"choices": [], "usage": {"completion_tokens": 1, "prompt_tokens_details": [1]}},
]  # fmt: skip


@pytest.mark.parametrize("event", WRONG_EVENTS, ids=lambda event: json.dumps(event)[:60])
def test_a_field_of_a_wrong_type_is_no_reply(event, model_files, open_remote, tokenizer, caplog):
    with serving(vllm(str(model_files), encode=tokenizer.encode)) as server:
        engine = open_remote(server)
        route = server.routes["POST", "/v1/completions"]
        server.routes["POST", "/v1/completions"] = lambda _: [event]
        with pytest.raises(EngineError, match="something that is not a reply") as caught:
            logprobs = 1 if "logprobs" in json.dumps(event) else None
            read(engine.generate(greedy(tokenizer.encode("Say it."), 20, logprobs=logprobs)))
        one_sentence(caught.value, server.url)
        assert "Traceback" not in caplog.text
        server.routes["POST", "/v1/completions"] = route
        healthy(engine, tokenizer)


BROKE_OFF = {"error": {"message": "cannot read 'my secret'"}}
NOT_FOUND = b"HTTP/1.1 404 Not\r\nconnection: close\r\n\r\n" + json.dumps(BROKE_OFF).encode()


@pytest.mark.parametrize("answer", [[BROKE_OFF], Bytes([NOT_FOUND])], ids=["event", "status"])
def test_what_a_server_says_is_for_the_reader_not_for_the_log(
    answer, model_files, open_remote, tokenizer, caplog
):
    with serving(vllm(str(model_files), encode=tokenizer.encode)) as server:
        engine = open_remote(server)
        route = server.routes["POST", "/v1/completions"]
        server.routes["POST", "/v1/completions"] = lambda _: answer
        with pytest.raises(EngineError, match="my secret"):
            read(engine.generate(greedy(tokenizer.encode("my secret"), 20)))
        assert "The model's server" in caplog.text and "secret" not in caplog.text
        server.routes["POST", "/v1/completions"] = route
        healthy(engine, tokenizer)


# -- elsewhere -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_request_is_sent_on_to_elsewhere(status, model_files, open_remote, tokenizer):
    with serving(vllm("x")) as elsewhere, serving(llama_cpp("m", tokenizer)) as server:
        engine = open_remote(server, model="embedded")
        location = f"location: {elsewhere.url}/v1/completions".encode()
        head = b"HTTP/1.1 %d On\r\n%s\r\ncontent-length: 0\r\n\r\n" % (status, location)
        routes = server.routes
        server.routes = {route: lambda _: Bytes([head]) for route in routes}
        with pytest.raises(EngineError, match="--endpoint") as caught:
            engine.tokenizer.encode("x")
        one_sentence(caught.value, elsewhere.url, server.url)
        with pytest.raises(EngineError, match="--endpoint"):
            read(engine.generate(greedy([5], 20)))
        with pytest.raises(SettingsError, match="another address"):
            open_remote(server)
        assert not elsewhere.seen and not elsewhere.keys
        server.routes = routes
        healthy(engine, tokenizer)


def test_no_cookie_is_kept():
    async def cookies():
        client = make_client(server.url, None)
        await ask(client, "GET", "/x")
        kept = dict(client.cookies)
        await client.aclose()
        return kept

    with serving(lambda _: {("GET", "/x"): lambda _: Bytes(body(b"{}", b"set-cookie: a=b"))}) as (
        server
    ):
        assert asyncio.run(cookies()) == {}


def test_lines_come_whole_however_they_were_cut():
    lines = [b'data: {"n": %d}' % n for n in range(50)] + [b": comment", b"", b"data: [DONE]"]
    data = b"\r\n".join(lines) + b"\n"

    async def numbers(url):
        client = make_client(url, None)
        found = [value["n"] async for value in events(client, "/x", {})]
        await client.aclose()
        return found

    for size in (1, 7, 64, 10_000):
        cut = [data[at : at + size] for at in range(0, len(data), size)]
        routes = {("POST", "/x"): lambda _, cut=cut: Bytes(chunked([*cut]))}
        with serving(lambda _, routes=routes: routes) as server:
            assert asyncio.run(numbers(server.url)) == list(range(50))


@pytest.mark.parametrize("said", [b"[" * 100_000, b'{"error": NaN}', b"\xff", b"1" * 9999, b""])
def test_an_errors_detail_that_cannot_be_read_is_left_out(said):
    assert detail(said) == ""
    assert detail(b'\xef\xbb\xbf{"error": {"message": "No\\nroom."}}') == ": No room"


def test_a_limit_in_bytes_is_exact():
    async def asked(most):
        client = make_client(server.url, None)
        try:
            return await ask(client, "GET", "/x", most=most)
        finally:
            await client.aclose()

    data = b'{"a": "%s"}' % (b"x" * 1000)
    with serving(lambda _: {("GET", "/x"): lambda _: Bytes(body(data))}) as server:
        assert asyncio.run(asked(len(data))) == {"a": "x" * 1000}
        with pytest.raises(Fault, match="more than 1,008 bytes"):
            asyncio.run(asked(len(data) - 1))
