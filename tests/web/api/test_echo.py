"""A raw prompt comes back to the letter, with right offsets, whatever it holds."""

import json

import httpx
import hypothesis
import pytest
from hypothesis import strategies

from assistant.engine.tokenizer import load_tokenizer
from tests.support.checkpoints import make_metaspace_tokenizer
from tests.support.fake_engine import FakeEngine
from tests.support.server import running

ODD = ["\r\n", "\r", "\n", "\t", "\f", "\v", "\0", "\x1b[31m", "\u2028", "\ufeff", "\u200b", "\x85",
       "é", "e\u0301", "日本", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\ufffd",
       "<|endoftext|>", "<fim_prefix>", " ", "  ", "    ", "def f(x):", '"', "&lt;"]  # fmt: skip
PROMPTS = strategies.lists(
    strategies.sampled_from(ODD) | strategies.text(max_size=4), min_size=1, max_size=20
).map("".join)
BACK = "ok\r\n"


@pytest.fixture(scope="module", params=["bytes", "pairs", "metaspace"])
def server(request, tokenizer, tmp_path_factory):
    engine = FakeEngine(lambda request: [tuple(engine.tokenizer.encode(BACK))])
    if request.param == "pairs":
        engine.tokenizer = tokenizer
    if request.param == "metaspace":  # with a token and a blank before what is sent
        folder = make_metaspace_tokenizer(tmp_path_factory.mktemp("metaspace"))
        engine.tokenizer = load_tokenizer(folder)
    with running(engine) as server:
        yield server


@pytest.fixture(scope="module")
def ask(server):
    headers = {"content-type": "application/json"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        yield lambda path, **body: client.post(path, content=json.dumps(body))
        answer = client.post("/generate", content=json.dumps({"inputs": "x"}))
        assert answer.json() == {"generated_text": BACK}


def test_what_is_sent_comes_back(ask, server):
    tokenizer = server.engine.tokenizer
    end = tokenizer.decode([tokenizer.eos_id])

    @hypothesis.settings(max_examples=250)
    @hypothesis.given(PROMPTS.filter(bool))
    @hypothesis.example("".join(ODD))
    def check(prompt):
        answer = ask("/v1/completions", prompt=prompt, echo=True, logprobs=1, max_tokens=20)
        (choice,) = answer.json()["choices"]
        found = choice["logprobs"]
        assert choice["text"] == prompt + BACK
        assert "".join(found["tokens"]) == prompt + BACK + end
        at = 0
        for offset, token in zip(found["text_offset"], found["tokens"], strict=True):
            assert offset == at
            at += len(token)
        alone = ask("/v1/completions", prompt=prompt, echo=True, max_tokens=0)
        assert alone.json()["choices"][0]["text"] == prompt
        options = {"return_full_text": True, "decoder_input_details": True}
        answer = ask("/generate", inputs=prompt, parameters=options).json()
        assert answer["generated_text"] == prompt + BACK
        assert "".join(token["text"] for token in answer["details"]["prefill"]) == prompt
        tokens = ask("/tokenize", prompt=prompt, add_special_tokens=False).json()["tokens"]
        assert ask("/detokenize", tokens=tokens).json()["prompt"] == prompt

    check()


@pytest.mark.parametrize("half", ["\ud83d", "\udc00", "\ude00\ud83d"])
def test_half_a_character_is_refused_by_name(ask, server, half):
    server.engine.requests.clear()
    for path in ("/v1/completions", "/generate", "/completion", "/tokenize"):
        answer = ask(path, prompt=f"ab{half}", inputs=f"ab{half}", echo=path == "/v1/completions")
        said = answer.json()["detail"]
        assert answer.status_code in (400, 422)
        assert f"a lone surrogate, {ascii(half[0])}, at character 3" in said
    assert server.engine.requests == []
