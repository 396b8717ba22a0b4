"""Text to tokens and back over HTTP, in the forms of three servers."""

import json

import pytest

from assistant.settings import Settings
from tests.support.fake_engine import FakeEngine
from tests.support.server import running

TEXT = "é<fim_prefix>\r\n"


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine()) as server:
        yield server
        assert server.post("/tokenize", json={"content": "a"}).json()["tokens"]


@pytest.fixture
def ask(server):
    def ask(path, status=200, **body):
        answer = server.post(path, content=json.dumps(body))  # half a character, too
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def test_as_tgi_has_it(ask, server):
    prefix = server.engine.tokenizer.special["<fim_prefix>"]
    assert ask("/tokenize", inputs=TEXT, parameters=None) == [
        {"id": 0xC3 + 5, "text": "", "start": 0, "stop": 0},
        {"id": 0xA9 + 5, "text": "é", "start": 0, "stop": 1},
        {"id": prefix, "text": "<fim_prefix>", "start": 1, "stop": 13},
        {"id": 18, "text": "\r", "start": 13, "stop": 14},
        {"id": 15, "text": "\n", "start": 14, "stop": 15},
    ]
    assert ask("/tokenize", inputs="") == []


def test_as_vllm_has_it(ask, server):
    answer = ask("/tokenize", model="fake", prompt=TEXT, add_special_tokens=True)
    assert (answer["count"], answer["max_model_len"], answer["token_strs"]) == (5, 8192, None)
    assert ask("/detokenize", model="fake", tokens=answer["tokens"])["prompt"] == TEXT
    strings = ask("/tokenize", prompt=TEXT, return_token_strs=True)["token_strs"]
    assert strings == ["", "é", "<fim_prefix>", "\r", "\n"]
    said = [{"role": "user", "content": "<fim_prefix>"}]
    messages = ask("/tokenize", model="fake", messages=said)
    server.post("/v1/chat/completions", json={"messages": said})
    assert messages["tokens"] == list(server.engine.requests[-1].ids)


def test_as_llama_has_it(ask):
    tokens = ask("/tokenize", content=TEXT, add_special=True)["tokens"]
    assert len(tokens) == 5 and ask("/detokenize", tokens=tokens)["content"] == TEXT
    assert len(ask("/tokenize", content=TEXT, parse_special=False)["tokens"]) == 16
    pieces = ask("/tokenize", content="ab", with_pieces=True)["tokens"]
    assert [piece["piece"] for piece in pieces] == ["a", "b"]
    assert ask("/detokenize", tokens=[]) == {"prompt": "", "content": ""}


def test_what_stands_before_a_document():
    """As each server does it that has the form: llama.cpp's adds it only if asked to."""
    engine = FakeEngine(special=("<|endoftext|>", "<s>"), bos="<s>")
    with running(engine) as server:

        def ask(**body):
            return server.post("/tokenize", json=body).json()

        ids = engine.tokenizer.encode("ab")
        assert ask(prompt="ab")["tokens"] == ask(prompt="<s>ab")["tokens"] == [1, *ids]
        assert ask(prompt="ab", add_special_tokens=False)["tokens"] == ids
        assert ask(content="ab")["tokens"] == ids
        assert ask(content="ab", add_special=True)["tokens"] == [1, *ids]
        first, *others = ask(inputs="ab")
        assert first == {"id": 1, "text": "", "start": 0, "stop": 0}
        assert [token["stop"] for token in others] == [1, 2]
        assert ask(messages=[{"role": "user", "content": "ab"}])["tokens"].count(1) == 1
        info = server.get("/tokenizer_info").json()
        assert (info["add_bos_token"], info["bos_token"]) == (True, "<s>")


@pytest.mark.parametrize(
    "path, body, words",
    [
        ("/tokenize", {}, "Send one of inputs, content, prompt and messages."),
        ("/tokenize", {"prompt": "x" * 200_001}, "at most 200,000 characters; it has 200,001."),
        ("/tokenize", {"prompt": "a\ud83d"}, "The prompt has a lone surrogate"),
        ("/tokenize", {"prompt": ["a"]}, "prompt "),
        ("/tokenize", {"messages": [{"role": "user"}]}, "Message 1 must have text"),
        ("/tokenize", {"messages": []}, "no message that waits for a reply"),
        ("/detokenize", {}, "The request has no 'tokens'"),
        ("/detokenize", {"tokens": [-1]}, "Token ids must be a list of whole numbers from 0"),
        ("/detokenize", {"tokens": "abc"}, "tokens is wrong"),
    ],
)
def test_what_is_refused(ask, path, body, words):
    error = ask(path, 400, **body)["error"]
    assert words in error["message"] and error["param"] == next(iter(body), error["param"])


def test_what_the_tokenizer_is(server):
    info = server.get("/tokenizer_info").json()
    assert (info["eos_token"], info["model_max_length"]) == ("<|endoftext|>", 8192)
    assert "messages" in info["chat_template"]


def test_tokens_without_text_of_their_own(server, ask, monkeypatch):
    monkeypatch.setattr(FakeEngine, "limitations", {"tokens": "No tokens here."})
    assert ask("/tokenize", prompt="ab")["count"] == 2
    for body in ({"inputs": "ab"}, {"content": "ab", "with_pieces": True}):
        assert ask("/tokenize", 400, **body)["detail"] == "No tokens here."


def test_a_key_is_asked_for():
    with running(settings=Settings(port=0, api_key="k")) as server:
        for path in ("/tokenize", "/detokenize", "/infill", "/completion", "/v1/responses"):
            assert server.post(path, json={}).status_code == 401
        for path in ("/props", "/tokenizer_info"):
            assert server.get(path).status_code == 401
        key = {"authorization": "Bearer k"}
        assert server.get("/props", headers=key).status_code == 200
