"""The openai package."""

from typing import Literal

import openai
import pydantic
import pytest

from .conftest import KEY, NO_KEY, PROMPT, QUESTION, TOO_LONG, WINDOW

ASKED = [{"role": "user", "content": QUESTION}]
GREEDY = {"temperature": 0, "max_tokens": 24}


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.api, api_key=KEY, max_retries=0) as client:
        yield client


def test_models(client, server):
    assert [model.id for model in client.models.list()] == [server.model]
    assert client.models.retrieve(server.model).id == server.model


def test_a_chat_and_its_usage(client, server):
    raw = server.chat()
    answer = client.chat.completions.create(model=server.model, messages=ASKED, **GREEDY)
    assert answer.choices[0].message.content == raw["choices"][0]["message"]["content"]
    assert answer.choices[0].finish_reason == raw["choices"][0]["finish_reason"]
    assert answer.usage.completion_tokens == raw["usage"]["completion_tokens"] == 24
    assert answer.usage.prompt_tokens == raw["usage"]["prompt_tokens"]


def test_a_chat_streamed(client, server):
    chunks = list(
        client.chat.completions.create(
            model=server.model,
            messages=ASKED,
            stream=True,
            stream_options={"include_usage": True},
            **GREEDY,
        )
    )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert "".join(texts) == server.reply() and len(texts) > 3
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 24


def test_the_stream_helper(client, server):
    """It fails by itself where a reply ends at max_tokens."""
    asked = client.chat.completions.stream(model=server.model, messages=ASKED, temperature=0)
    with asked as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == server.reply(max_tokens=None)


@pytest.mark.parametrize("stream", [False, True])
def test_a_completion_ends_at_a_stop(client, server, stream):
    whole = server.text()
    stop = whole[8:11]
    answer = client.completions.create(
        model=server.model, prompt=PROMPT, stop=[stop], stream=stream, **GREEDY
    )
    choices = [chunk.choices[0] for chunk in answer] if stream else answer.choices
    assert "".join(choice.text for choice in choices) == whole[: whole.index(stop)]
    assert choices[-1].finish_reason == "stop"


def test_log_probabilities_and_echo(client, server):
    options = {"prompt": PROMPT, "echo": True, "logprobs": 2, **GREEDY}
    (choice,) = client.completions.create(model=server.model, **options).choices
    assert choice.text == PROMPT + server.text()
    assert "".join(choice.logprobs.tokens) == choice.text
    raw = server.completion(echo=True, logprobs=2)["choices"][0]["logprobs"]
    assert choice.logprobs.text_offset == raw["text_offset"]
    assert choice.logprobs.token_logprobs[1:] == pytest.approx(raw["token_logprobs"][1:])


def test_responses(client, server):
    options = {"model": server.model, "temperature": 0}
    answer = client.responses.create(input=QUESTION, max_output_tokens=24, **options)
    assert answer.output_text == server.reply()
    # The helper knows no final response where a reply ends at max_output_tokens.
    with client.responses.stream(input=ASKED, **options) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert final.output_text == "".join(texts) == server.reply(max_tokens=None)


class Verdict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")  # what the package asks of a schema

    language: Literal["Python", "Rust"]
    good: bool


def test_json_under_a_schema(client, server):
    asked = {"model": server.model, "messages": ASKED, "temperature": 1, "max_tokens": 64}
    schema = {"name": "verdict", "schema": Verdict.model_json_schema(), "strict": True}
    for seed in range(3):
        asked["seed"] = seed
        answer = client.chat.completions.create(
            response_format={"type": "json_schema", "json_schema": schema}, **asked
        )
        text = answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"
        parsed = client.chat.completions.parse(response_format=Verdict, **asked)
        assert parsed.choices[0].message.parsed == Verdict.model_validate_json(text)


def test_errors(client, server):
    with pytest.raises(openai.BadRequestError, match=WINDOW) as caught:
        client.completions.create(model=server.model, prompt=TOO_LONG)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError, match="There is no model 'gpt-4' here"):
        client.chat.completions.create(model="gpt-4", messages=ASKED)
    with (
        openai.OpenAI(base_url=server.api, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError, match=NO_KEY),
    ):
        stranger.models.list()
