"""langchain-huggingface over TGI's API, and langchain-openai over OpenAI's."""

import openai
import pytest
from huggingface_hub.errors import HfHubHTTPError, ValidationError
from langchain_huggingface import ChatHuggingFace, HuggingFaceEndpoint
from langchain_openai import ChatOpenAI, OpenAI

from .conftest import KEY, NO_KEY, PROMPT, QUESTION, TOO_LONG, WINDOW

# It sends no token to an address that is not Hugging Face's own, but these headers.
HEADERS = {"headers": {"Authorization": f"Bearer {KEY}"}}
GREEDY = {"temperature": 0}  # beside its own top_p and typical_p, which draw otherwise


@pytest.fixture
def endpoint(server):
    def endpoint(**options):
        return HuggingFaceEndpoint(endpoint_url=server.url, server_kwargs=HEADERS, **options)

    return endpoint


def test_an_endpoint(endpoint, server):
    llm = endpoint(max_new_tokens=24, **GREEDY)
    assert llm.invoke(PROMPT) == server.text()
    pieces = list(llm.stream(PROMPT))
    assert "".join(pieces) == server.text() and len(pieces) > 3
    stop = server.text()[8:11]
    assert llm.invoke(PROMPT, stop=[stop]) == server.text(stop=stop)
    own = {"temperature": 0.8, "top_p": 0.95, "typical_p": 0.95, "seed": 3}
    drawn = endpoint(max_new_tokens=24, seed=3).invoke(PROMPT)
    assert drawn == server.text(**own) != server.text()


def test_a_chat_over_an_endpoint(endpoint, server):
    # Its own temperature of 0 counts as none, and the endpoint's 0.8 is sent in its place.
    chat = ChatHuggingFace(llm=endpoint(), max_tokens=24, model_kwargs=GREEDY)
    answer = chat.invoke(QUESTION)
    assert answer.content == server.reply()
    usage = server.chat()["usage"]
    assert answer.usage_metadata["input_tokens"] == usage["prompt_tokens"]
    assert answer.usage_metadata["output_tokens"] == usage["completion_tokens"]
    assert "".join(chunk.content for chunk in chat.stream(QUESTION)) == server.reply()


def test_the_errors_of_an_endpoint(endpoint, server):
    with pytest.raises(ValidationError, match=WINDOW):
        endpoint(**GREEDY).invoke(TOO_LONG)
    with pytest.raises(HfHubHTTPError, match=WINDOW):
        ChatHuggingFace(llm=endpoint()).invoke(TOO_LONG)
    stranger = HuggingFaceEndpoint(endpoint_url=server.url, huggingfacehub_api_token="wrong")
    with pytest.raises(HfHubHTTPError, match=NO_KEY):
        ChatHuggingFace(llm=stranger).invoke(QUESTION)


@pytest.fixture
def options(server):
    return {
        "base_url": server.api,
        "api_key": KEY,
        "model": server.model,
        "temperature": 0,
        "max_tokens": 24,
        "max_retries": 0,
    }


def test_a_chat_over_openai(options, server):
    chat = ChatOpenAI(**options)
    said = [("system", "Keep it short."), ("human", QUESTION)]
    told = {"role": "system", "content": "Keep it short."}
    assert chat.invoke(said).content == server.reply(told, {"role": "user", "content": QUESTION})
    whole = None
    for chunk in ChatOpenAI(**options, stream_usage=True).stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    assert whole.content == server.reply() and whole.usage_metadata["output_tokens"] == 24


def test_completions_over_openai(options, server):
    llm = OpenAI(**options)
    stop = server.text()[8:11]
    assert llm.invoke(PROMPT) == server.text() == "".join(llm.stream(PROMPT))
    assert llm.invoke(PROMPT, stop=[stop]) == server.text(stop=stop)
    other = "def add(a, b):\n"
    assert llm.batch([PROMPT, other]) == [server.text(), server.text(other)]


def test_the_errors_over_openai(options):
    for kind in (ChatOpenAI, OpenAI):
        with pytest.raises(openai.BadRequestError, match=WINDOW):
            kind(**options).invoke(TOO_LONG)
        with pytest.raises(openai.AuthenticationError, match=NO_KEY):
            kind(**options | {"api_key": "wrong"}).invoke(QUESTION)
