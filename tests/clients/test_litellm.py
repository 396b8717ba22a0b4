"""litellm, through which many programs speak: its providers that take an address."""

import litellm
import pytest

from .conftest import KEY, NO_KEY, PROMPT, QUESTION, TOO_LONG, WINDOW

ASKED = [{"role": "user", "content": QUESTION}]
GREEDY = {"temperature": 0, "max_tokens": 24, "api_key": KEY}
# The name of the model for a provider; huggingface has one for servers whose model it need not know
CHATS = ["openai/{}", "hosted_vllm/{}", "huggingface/tgi"]


@pytest.mark.parametrize("name", CHATS)
def test_a_chat(server, name):
    raw = server.chat()
    options = {"model": name.format(server.model), "api_base": server.api, "messages": ASKED}
    if name == "huggingface/tgi":
        options["api_base"] = server.url
    answer = litellm.completion(**options, **GREEDY)
    assert answer.choices[0].message.content == raw["choices"][0]["message"]["content"]
    assert answer.usage.prompt_tokens == raw["usage"]["prompt_tokens"]
    assert answer.usage.completion_tokens == raw["usage"]["completion_tokens"] == 24
    chunks = litellm.completion(**options, **GREEDY, stream=True)
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(texts) == server.reply() and len(texts) > 3


@pytest.mark.parametrize("name", ["text-completion-openai/{}"])
def test_a_text_completion(server, name):
    options = {"model": name.format(server.model), "api_base": server.api, "prompt": PROMPT}
    raw = server.completion()
    answer = litellm.text_completion(**options, **GREEDY)
    assert answer.choices[0].text == raw["choices"][0]["text"]
    assert answer.usage.total_tokens == raw["usage"]["total_tokens"]
    stop = server.text()[8:11]
    answer = litellm.text_completion(**options, **GREEDY, stop=[stop])
    assert answer.choices[0].text == server.text(stop=stop)
    assert answer.choices[0].finish_reason == "stop"
    chunks = litellm.text_completion(**options, **GREEDY, stream=True)
    assert "".join(chunk.choices[0].text or "" for chunk in chunks) == server.text()


def test_errors(server):
    options = {"model": f"openai/{server.model}", "api_base": server.api, "max_retries": 0}
    with pytest.raises(litellm.BadRequestError, match=WINDOW):
        litellm.completion(messages=[{"role": "user", "content": TOO_LONG}], api_key=KEY, **options)
    with pytest.raises(litellm.AuthenticationError, match=NO_KEY):
        litellm.completion(messages=ASKED, api_key="wrong", **options)
