"""huggingface_hub's InferenceClient: TGI's API and chat completions."""

import json

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, ValidationError

from .conftest import KEY, NO_KEY, PROMPT, QUESTION, TOO_LONG, WINDOW

ASKED = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def client(server):
    return InferenceClient(base_url=server.url, token=KEY)


@pytest.mark.parametrize("how", ["base_url", "model"])
def test_text(server, how):
    client = InferenceClient(**{how: server.url}, token=KEY)
    assert client.text_generation(PROMPT, max_new_tokens=24) == server.text()
    whole = client.text_generation(PROMPT, max_new_tokens=24, return_full_text=True)
    assert whole == PROMPT + server.text()


def test_text_with_details(client, server):
    output = client.text_generation(
        PROMPT, max_new_tokens=24, details=True, decoder_input_details=True
    )
    usage = server.completion()["usage"]
    assert output.generated_text == "".join(t.text for t in output.details.tokens) == server.text()
    assert output.details.generated_tokens == usage["completion_tokens"] == 24
    assert len(output.details.prefill) == usage["prompt_tokens"]
    assert output.details.finish_reason == "length"


def test_text_streamed_with_details(client, server):
    asked = {"max_new_tokens": 24, "stream": True, "details": True}
    events = list(client.text_generation(PROMPT, **asked))
    assert "".join(event.token.text for event in events) == server.text()
    assert [event.generated_text for event in events[:-1]] == [None] * 23
    assert events[-1].generated_text == server.text()
    assert events[-1].details.generated_tokens == 24


def test_a_stop(client, server):
    whole = server.text()
    stop = whole[8:11]
    output = client.text_generation(PROMPT, max_new_tokens=24, stop=[stop], details=True)
    assert output.generated_text == whole[: whole.index(stop)]
    assert output.details.finish_reason == "stop_sequence"


def test_a_chat(client, server):
    raw = server.chat()
    answer = client.chat_completion(ASKED, max_tokens=24, temperature=0)
    assert answer.choices[0].message.content == raw["choices"][0]["message"]["content"]
    assert answer.usage.total_tokens == raw["usage"]["total_tokens"]
    same = client.chat.completions.create(ASKED, model=server.model, max_tokens=24, temperature=0)
    assert same.choices[0].message.content == answer.choices[0].message.content


def test_a_chat_streamed(client, server):
    chunks = list(
        client.chat_completion(
            ASKED,
            max_tokens=24,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert "".join(texts) == server.reply() and len(texts) > 3
    assert chunks[-1].usage.completion_tokens == 24


SCHEMA = {
    "type": "object",
    "properties": {"good": {"type": "boolean"}, "in": {"enum": ["Python", "Rust"]}},
    "required": ["good", "in"],
    "additionalProperties": False,
}


def test_json_under_a_schema(client):
    drawn = {"temperature": 1, "seed": 3}
    chat = client.chat_completion(
        ASKED,
        max_tokens=64,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        **drawn,
    )
    raw = client.text_generation(
        PROMPT, max_new_tokens=64, grammar={"type": "json", "value": SCHEMA}, **drawn
    )
    for text in (chat.choices[0].message.content, raw):
        found = json.loads(text)
        assert found.keys() == {"good", "in"} and found["in"] in ("Python", "Rust")
        assert isinstance(found["good"], bool)
    pattern = {"type": "regex", "value": "[0-9]{3}"}
    assert client.text_generation(PROMPT, grammar=pattern, **drawn).isdigit()


def test_errors(client, server):
    with pytest.raises(ValidationError, match=WINDOW):
        client.text_generation(TOO_LONG)
    with pytest.raises(HfHubHTTPError, match=WINDOW):
        client.chat_completion([{"role": "user", "content": TOO_LONG}])
    stranger = InferenceClient(base_url=server.url, token="wrong")
    for ask in (stranger.text_generation, stranger.chat_completion):
        with pytest.raises(HfHubHTTPError, match=NO_KEY) as caught:
            ask(PROMPT if ask == stranger.text_generation else ASKED)
        assert caught.value.response.status_code == 401
