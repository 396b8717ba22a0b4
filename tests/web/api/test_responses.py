"""POST /v1/responses over a real socket, as the real openai client asks and reads it."""

import dataclasses

import openai
import pytest

from assistant.errors import EngineError
from tests.support.fake_engine import FakeEngine
from tests.support.server import TEMPLATE, running


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine()) as server:
        yield server


@pytest.fixture
def client(server, script):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client
        script("Fine.")
        assert client.responses.create(model="fake", input="Hi").output_text == "Fine."


def test_a_response(client, server, script):
    script("Good day.\n\nHuman: more")
    answer = client.responses.create(
        model="fake", input="Hi", temperature=0.5, top_p=0.75, max_output_tokens=40, store=True
    )
    assert (answer.output_text, answer.status, answer.model) == ("Good day.", "completed", "fake")
    assert (answer.object, answer.incomplete_details) == ("response", None)
    (item,) = answer.output
    assert (item.type, item.role, item.status) == ("message", "assistant", "completed")
    request = server.engine.requests[-1]
    assert (request.max_new_tokens, request.sampling.temperature) == (40, 0.5)
    assert server.engine.prompt() == "A dialogue.\n\nHuman: Hi\n\nAssistant:"
    usage = answer.usage
    assert usage.input_tokens == len(request.ids)
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


@pytest.mark.parametrize("limit", [None, 4])
def test_a_stream(client, script, limit):
    script("Good día.")
    asked = {"model": "fake", "input": "Hi", "max_output_tokens": limit}
    events = list(client.responses.create(**asked, stream=True))
    end = "response.completed" if limit is None else "response.incomplete"
    text = "Good día." if limit is None else "Good"
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        end,
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events[4:-4]) == text == events[-4].text
    last = events[-1].response
    assert last.output_text == text and last.id == events[0].response.id
    assert (last.incomplete_details is None) == (limit is None)


def test_the_clients_own_helper(client, script):
    script("Good day.")
    with client.responses.stream(model="fake", input="Hi") as stream:
        deltas = [e.delta for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == "Good day."


def test_what_was_said_is_sent_again(client, server, script):
    script("Hello.")
    first = client.responses.create(model="fake", input="Hi")
    said = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        *(item.model_dump() for item in first.output),
        {"type": "message", "role": "user", "content": "More<|endoftext|>"},
    ]
    client.responses.create(model="fake", input=said)
    assert server.engine.prompt() == (
        "A dialogue.\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: More<|endoftext|>\n\nAssistant:"
    )
    assert server.engine.tokenizer.eos_id not in server.engine.requests[-1].ids


def test_instructions_join_the_preamble_of_a_template_that_has_a_place(server):
    template = dataclasses.replace(TEMPLATE, system="Rule: {system}\n\n")
    with running(template=template) as other:
        said = [{"role": "developer", "content": "b"}, {"role": "user", "content": "Hi"}]
        body = {"input": said, "instructions": "a"}
        assert other.post("/v1/responses", json=body).status_code == 200
        assert "Rule: a\n\nb\n\nHuman: Hi" in other.engine.prompt()
    answer = server.post("/v1/responses", json={"input": "Hi", "instructions": "a"})
    assert answer.status_code == 400 and "no place for a system message" in answer.text


@pytest.mark.parametrize(
    "body, words, param",
    [
        ({"input": None}, "input ", "input"),
        ({"input": []}, "no message that waits for a reply", "input"),
        ({"input": [{"type": "function_call"}]}, "Item 1 of input has the type 'func", "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "'input_image'",
            "input",
        ),
        ({"input": [{"role": "user", "content": ["x"]}]}, "must have text", "input"),
        ({"previous_response_id": "resp_1"}, "nothing is kept between", "previous_response_id"),
        ({"prompt": {"id": "pmpt_1"}}, "nothing is kept between requests", "prompt"),
        ({"background": True}, "nothing is kept between requests", "background"),
        ({"tools": [{"type": "web_search"}]}, "tools are not supported here", "tools"),
        ({"tool_choice": "required"}, "there are no tools", "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format must have the type", "text.format"),
        ({"instructions": "x" * 100_001}, "at most 100,000 characters", "instructions"),
        ({"text": {"verbosity": "low"}}, '"medium" as its verbosity', "text"),
        ({"max_output_tokens": 0}, "max_output_tokens must be from 1", "max_output_tokens"),
        ({"top_logprobs": 3}, "top_logprobs is not among", "top_logprobs"),
        ({"temperature": 5}, "temperature must be from 0 to 2", "temperature"),
    ],
)
def test_what_is_refused(server, client, body, words, param):
    answer = server.post("/v1/responses", json={"model": "fake", "input": "Hi", **body})
    error = answer.json()["error"]
    assert answer.status_code == 400 and words in error["message"]
    assert error["param"] == param
    assert server.engine.requests == []


def test_what_changes_nothing_is_taken(client):
    more = {"tools": [], "tool_choice": "auto", "truncation": "auto", "metadata": {"a": "b"}}
    more |= {"reasoning": {"effort": "low"}, "text": {"format": {"type": "text"}}, "include": []}
    assert client.responses.create(model="fake", input="Hi", extra_body=more).output_text


def test_another_model_is_refused(client):
    with pytest.raises(openai.NotFoundError, match="There is no model 'gpt-5' here"):
        client.responses.create(model="gpt-5", input="Hi")


def test_a_failure_in_a_stream(client, server, script):
    script(["Half", EngineError("Out of memory.")])
    with pytest.raises(openai.APIError, match="Out of memory"):
        list(client.responses.create(model="fake", input="Hi", stream=True))
    assert server.post("/v1/responses", json={"input": "Hi"}).status_code == 503
