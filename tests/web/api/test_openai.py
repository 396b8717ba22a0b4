"""The OpenAI-compatible API over a real socket: the real openai client, and raw requests."""

import dataclasses
import json
import math
import threading

import httpx
import hypothesis
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.chat.assistant import Assistant
from assistant.completion.inspector import score
from assistant.completion.spellings import missing_tokens
from assistant.conversation import Conversation
from assistant.engine.open import open_engine
from assistant.engine.protocol import Request
from assistant.errors import EngineDead, EngineError
from assistant.prompting.load import load_template
from assistant.sampling import Sampling
from assistant.settings import Settings, read_settings
from assistant.web import event_stream
from assistant.web.gate.security import FAILED
from tests.support.fake_engine import SPECIAL, STARCHAT, FakeEngine
from tests.support.server import TEMPLATE, running, slowly
from tests.support.waiting import FREED_S, keeps, until

MESSAGE = {"role": "user", "content": "Hi"}
ASK = {"model": "fake", "messages": [MESSAGE]}
RAW = {"model": "fake", "prompt": "def f"}


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine(slots=8, queue=8), Settings(port=0, slots=8, queue=8)) as server:
        yield server


@pytest.fixture
def client(server, script):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client
        script("Fine.")
        assert client.completions.create(**RAW).choices[0].text == "Fine."


def events(answer):
    """The values of a stream of server-sent events, in the order they came."""
    lines = [line for line in answer.text.split("\n\n") if line]
    assert all(line.startswith("data: ") and "\n" not in line for line in lines)
    texts = [line[6:] for line in lines]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


# -- models


def test_the_model_is_listed(client):
    (model,) = client.models.list().data
    assert (model.id, model.owned_by, model.max_model_len) == ("fake", "tech-assistant", 8192)
    assert client.models.retrieve("fake").id == "fake" and model.adapter is None
    with pytest.raises(openai.NotFoundError, match="There is no model 'a/b' here; this server has"):
        client.models.retrieve("a/b")


@pytest.mark.parametrize("route", ["completions", "chat.completions"])
def test_another_model_is_refused(client, route):
    create = client.completions.create if route == "completions" else client.chat.completions.create
    with pytest.raises(openai.NotFoundError) as caught:
        create(**{**(RAW if route == "completions" else ASK), "model": "gpt-4"})
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.type == "invalid_request_error"


# -- chat


def test_a_chat(client, server, script):
    script("Good day.\n\nHuman: more")
    answer = client.chat.completions.create(**ASK)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Good day.")
    assert (choice.finish_reason, choice.logprobs) == ("stop", None)
    assert server.engine.prompt() == "A dialogue.\n\nHuman: Hi\n\nAssistant:"
    usage = answer.usage
    assert usage.prompt_tokens == len(server.engine.requests[-1].ids)
    assert usage.completion_tokens > len("Good day.")
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert client.chat.completions.create(**ASK).usage.prompt_tokens_details.cached_tokens > 0


@pytest.mark.parametrize("usage", [False, True])
def test_a_chat_streamed(client, script, usage):
    script("Good día.")
    options = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(client.chat.completions.create(**ASK, stream=True, **options))
    if usage:
        last = chunks.pop()
        assert last.choices == [] and last.usage.completion_tokens == 10
    assert all(chunk.usage is None for chunk in chunks)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant" and {delta.role for delta in deltas[1:]} == {None}
    assert "".join(delta.content or "" for delta in deltas) == "Good día."
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}


def test_a_conversation_and_its_parts(client, server):
    blocks = [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]
    said = [
        {"role": "user", "content": blocks},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "Four."},
        {"role": "user", "content": "Five<|endoftext|>?"},
    ]
    client.chat.completions.create(model="fake", messages=said)
    assert server.engine.prompt() == (
        "A dialogue.\n\nHuman: One\ntwo\n\nthree\n\nAssistant: Four.\n\n"
        "Human: Five<|endoftext|>?\n\nAssistant:"
    )
    assert server.engine.tokenizer.eos_id not in server.engine.requests[-1].ids


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_goes_on(client, server, script, stream):
    script(" and on.")
    said = [MESSAGE, {"role": "assistant", "content": "On"}]
    asked = {"add_generation_prompt": False, "continue_final_message": True}
    answer = client.chat.completions.create(
        model="fake", messages=said, stream=stream, extra_body=asked
    )
    if stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    else:
        text = answer.choices[0].message.content
    assert text == " and on."
    assert server.engine.prompt().endswith("Human: Hi\n\nAssistant: On")


def test_a_system_message_joins_the_preamble_of_a_template_that_has_a_place():
    template = dataclasses.replace(TEMPLATE, system="Rule: {system}\n\n")
    system = [{"role": "system", "content": "Be"}, {"role": "developer", "content": "<|end|>"}]
    engine = FakeEngine(special=(*SPECIAL, *STARCHAT))
    with running(engine, template=template) as server:
        body = {"messages": [*system, MESSAGE]}
        assert server.post("/v1/chat/completions", json=body).status_code == 200
        assert engine.prompt() == ("A dialogue.\n\nRule: Be\n\n<|end|>\n\nHuman: Hi\n\nAssistant:")
        assert not set(engine.requests[-1].ids) & set(engine.tokenizer.special.values())
        for empty in ("", " \n"):
            body = {"messages": [{"role": "system", "content": empty}, MESSAGE]}
            server.post("/v1/chat/completions", json=body)
            assert engine.prompt() == "A dialogue.\n\nHuman: Hi\n\nAssistant:"


CALL = {"function": {"name": "clock", "arguments": "{}"}}
HUMAN = "A dialogue.\n\nHuman: "


@pytest.mark.parametrize(
    "messages, prompt",
    [
        (
            [{"role": "assistant", "content": "Which one?"}, MESSAGE],
            "Hello.\n\nAssistant: Which one?\n\nHuman: Hi\n\nAssistant:",
        ),
        (
            [MESSAGE, {"role": "assistant", "content": None, "refusal": None}, MESSAGE],
            "Hi\n\nHi\n\nAssistant:",
        ),
        (
            [
                MESSAGE,
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "a1", "content": "12:00"},
                MESSAGE,
            ],
            "Hi\n\nAssistant: clock({})\n\nHuman: The tool answered: 12:00\n\nHi\n\nAssistant:",
        ),
        ([{"role": "system", "content": ""}, MESSAGE, {"role": "system", "content": None or ""}],
         "Hi\n\nAssistant:"),
        ([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "Hi\n\nAssistant:"),
    ],
)  # fmt: skip
def test_messages_as_clients_send_them(server, messages, prompt):
    body = {"model": "tgi", "messages": messages}
    assert server.post("/v1/chat/completions", json=body).status_code == 200
    assert server.engine.prompt() == HUMAN + prompt


@pytest.mark.parametrize(
    "body, limit, seed",
    [
        ({"max_tokens": -1, "seed": -1}, 256, None),
        ({"max_tokens": 32_000}, 8192 - 34, None),
        ({"max_completion_tokens": 20.0, "max_tokens": 5}, 20, None),
        ({"seed": 2**63 + 1}, 256, (2**63 + 1) % 2**53),
        ({"seed": 7.0, "stop": ["x"] * 14, "top_k": -1}, 256, 7),
    ],
)
def test_numbers_as_clients_send_them(server, body, limit, seed):
    for name in ("fake", "", "dummy", "tgi"):
        sent = {"model": name, "messages": [MESSAGE], **body}
        assert server.post("/v1/chat/completions", json=sent).status_code == 200
    request = server.engine.requests[-1]
    assert request.max_new_tokens == limit
    assert seed is None or request.sampling.seed == seed


def test_a_limit_that_is_too_large_lets_no_turn_leave_that_fits(server):
    talk = [MESSAGE, {"role": "assistant", "content": "x" * 4000}, MESSAGE]
    server.post("/v1/chat/completions", json={"messages": talk, "max_tokens": 8000})
    assert "x" * 4000 in server.engine.prompt()
    request = server.engine.requests[-1]
    assert len(request.ids) + request.max_new_tokens == 8192


@pytest.mark.parametrize(
    "messages, more, words",
    [
        ([MESSAGE], {"continue_final_message": True}, "needs the assistant's message as the last"),
        ([MESSAGE], {"add_generation_prompt": False}, "may be false only where the assistant's"),
    ],
)
def test_nothing_that_could_be_continued(server, client, messages, more, words):
    with pytest.raises(openai.BadRequestError, match=words) as caught:
        client.chat.completions.create(model="fake", messages=messages, extra_body=more)
    assert caught.value.param == next(iter(more))
    assert server.engine.requests == []


@pytest.mark.parametrize(
    "messages, words",
    [
        ([], "no message that waits for a reply"),
        ([{"role": "system", "content": "x"}, MESSAGE], "has no place for a system message"),
        ([MESSAGE, {"role": "system", "content": "x"}], "has no place for a system message"),
        (
            [{"role": "critic", "content": "x"}],
            "user, assistant, tool, function as its role, not 'critic'",
        ),
        ([{"role": "tool", "content": None}], "Message 1 must have text as its content"),
        ([MESSAGE, {"role": "assistant", "tool_calls": [1]}], "a tool call without a function"),
        ([{"role": "user"}], "Message 1 must have text as its content"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "a part of the type 'image_url'"),
        ([{"role": "user", "content": " "}], "Message 1 is refused: the message is empty"),
        (
            [{"role": "system", "content": " "}, {"role": "user", "content": " "}],
            "Message 2 is refused: the message is empty",
        ),
        (
            [{"role": "user", "content": "x" * 100_001}],
            "Message 1 is refused: the message may have at",
        ),
        ([MESSAGE, {"role": "assistant", "content": ""}], "The last reply is empty"),
        ([{}], "must have text as its content"),
        (["Hi"], "messages must be a list of objects with a role and a content"),
        ([MESSAGE] * 1001, "at most 1000 turns; 1001 were given"),
        ("Hi", "messages must be a list of objects with a role and a content"),
    ],
)
def test_messages_that_are_no_conversation(server, client, messages, words):
    with pytest.raises(openai.BadRequestError, match=words) as caught:
        client.chat.completions.create(model="fake", messages=messages)
    assert caught.value.param == "messages" and server.engine.requests == []


# -- completions


def test_a_completion(client, server, script):
    script("(x):\n    return x\n")
    answer = client.completions.create(**RAW, max_tokens=4)
    (choice,) = answer.choices
    assert (choice.text, choice.finish_reason) == ("(x):", "length")
    assert server.engine.prompt() == "def f"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 4)
    assert (answer.object, answer.model) == ("text_completion", "fake")


def test_a_completion_streamed(client, script):
    script("é\U0001f600 END of it")
    chunks = list(client.completions.create(**RAW, stream=True, stop="END", max_tokens=50))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "é\U0001f600 "
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_raw_prompt_is_trusted_and_ids_are_taken_as_they_are(client, server):
    client.completions.create(model="fake", prompt="a<fim_prefix>b")
    tokenizer = server.engine.tokenizer
    prefix = tokenizer.special["<fim_prefix>"]
    ids = (*tokenizer.encode("a"), prefix, *tokenizer.encode("b"))
    assert server.engine.requests[-1].ids == ids
    client.completions.create(model="fake", prompt=list(ids))
    assert server.engine.requests[-1].ids == ids


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "options, text",
    [
        ({"stop": ["END", "x"]}, "oneEND"),
        ({"stop": "zzz"}, "oneEND two"),
        ({"stop": ["END"], "include_stop_str_in_output": False}, "one"),
    ],
)
def test_a_stop_that_is_shown(client, script, stream, options, text):
    script("oneEND two")
    more = {"include_stop_str_in_output": True, **options}
    answer = client.completions.create(**RAW, extra_body=more, stream=stream)
    chunks = list(answer) if stream else [answer]
    assert "".join(chunk.choices[0].text for chunk in chunks) == text
    said = client.chat.completions.create(**ASK, extra_body=more)
    assert said.choices[0].message.content == text


def test_the_marker_of_a_turn_is_no_stop_of_the_request(client, script):
    script("Fine.\n\nHuman: more")
    more = {"include_stop_str_in_output": True, "stop": ["END"]}
    said = client.chat.completions.create(**ASK, extra_body=more)
    assert said.choices[0].message.content == "Fine."


@pytest.mark.parametrize("ids", [False, True])
def test_prompts_and_n(client, server, script, ids):
    tokenizer = server.engine.tokenizer
    script(lambda request: tokenizer.decode(request.ids).upper() + f"-{request.sampling.seed}")
    prompts = ["ab", "c", "def"]
    sent = [tokenizer.encode(prompt) for prompt in prompts] if ids else prompts
    answer = client.completions.create(model="fake", prompt=sent, n=2, seed=7)
    assert [choice.index for choice in answer.choices] == list(range(6))
    expected = ["AB-7", "AB-8", "C-7", "C-8", "DEF-7", "DEF-8"]
    assert [choice.text for choice in answer.choices] == expected
    assert answer.usage.prompt_tokens == 6
    texts = [""] * 6
    for chunk in client.completions.create(model="fake", prompt=sent, n=2, seed=7, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == expected


def test_n_of_a_chat(client, server, script):
    script("Hello.")
    answer = client.chat.completions.create(**ASK, n=3, seed=5)
    assert [choice.message.content for choice in answer.choices] == ["Hello."] * 3
    assert [request.sampling.seed for request in server.engine.requests] == [5, 6, 7]
    assert answer.usage.prompt_tokens == len(server.engine.requests[0].ids)


def test_suffix_fills_in_the_middle(client, server, script):
    script("return x")
    answer = client.completions.create(model="fake", prompt="def f:\n", suffix="\n\nf()", n=2)
    assert [choice.text for choice in answer.choices] == ["return x"] * 2
    assert server.engine.prompt() == "<fim_prefix>def f:\n<fim_suffix>\n\nf()<fim_middle>"
    client.completions.create(model="fake", prompt="def f:\n", suffix="")
    assert server.engine.prompt() == "def f:\n"


def test_sampling_arrives(client, server):
    more = {"top_k": 7, "min_p": 0.25, "repeat_penalty": 1.5, "typical_p": 0.5}
    more |= {"presence_penalty": 1, "frequency_penalty": -0.5, "logit_bias": {"7": 5, "5": -1}}
    more |= {"dry_multiplier": 0.8, "dry_base": 2, "dry_allowed_length": 3}
    more |= {"dry_sequence_breakers": ["\n"]}
    client.completions.create(**RAW, temperature=0.5, top_p=0.75, seed=9, extra_body=more)
    sampling = server.engine.requests[-1].sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.75, 9)
    assert (sampling.top_k, sampling.min_p, sampling.repetition_penalty) == (7, 0.25, 1.5)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (1, -0.5)
    assert (sampling.typical_p, sampling.logit_bias) == (0.5, ((5, -1), (7, 5)))
    assert (sampling.dry_multiplier, sampling.dry_base, sampling.dry_allowed_length) == (0.8, 2, 3)
    assert sampling.dry_sequence_breakers == ("\n",)
    client.completions.create(**RAW, extra_body={"dry_sequence_breakers": '["\\n", ":"]'})
    assert server.engine.requests[-1].sampling.dry_sequence_breakers == ("\n", ":")
    client.completions.create(**RAW, extra_body={"top_k": -1, "temperature": None, "user": "x"})
    assert server.engine.requests[-1].sampling.top_k == 0
    counted = {"repeat_last_n": 0, "repeat_penalty": 1.9, "dry_penalty_last_n": 64}
    client.completions.create(**RAW, extra_body=counted)
    sampling = server.engine.requests[-1].sampling
    assert (sampling.repetition_penalty, sampling.dry_multiplier) == (1, 0)
    client.completions.create(**RAW, extra_body={"logit_bias": [[9, False], [5, 1.5]]})
    assert server.engine.requests[-1].sampling.logit_bias == ((5, 1.5), (9, -100))


@pytest.mark.parametrize(
    "path, body",
    [
        ("/v1/completions", RAW),
        ("/v1/completions", {**RAW, "suffix": "x"}),
        ("/v1/chat/completions", ASK),
        ("/v1/responses", {"input": "Hi"}),
        ("/generate", {"inputs": "x"}),
        ("/completion", RAW),
        ("/infill", {"input_prefix": "x"}),
    ],
)
def test_what_ends_a_reply_arrives(server, path, body):
    more = {"min_tokens": 5, "stop_token_ids": [40, 41], "ignore_eos": True}
    more = {"parameters": more} if path == "/generate" else more
    assert server.post(path, json={**body, **more}).status_code == 200
    request = server.engine.requests[-1]
    assert request.min_new_tokens == 5 and {40, 41} <= request.stop_ids
    assert server.engine.tokenizer.eos_id in request.banned_ids
    assert server.engine.tokenizer.eos_id not in request.stop_ids


# -- tokens


def test_logprobs_of_a_completion(client, script):
    script("héy")
    choice = client.completions.create(**RAW, logprobs=2).choices[0]
    found = choice.logprobs
    assert found.tokens == ["h", "", "é", "y", "<|endoftext|>"]
    assert found.text_offset == [0, 1, 1, 2, 3]
    assert len(found.token_logprobs) == len(found.top_logprobs) == 5
    for text, value, top in zip(
        found.tokens, found.token_logprobs, found.top_logprobs, strict=True
    ):
        assert value in (-0.5, -1.0, -1.5)
        assert 2 <= len(top) <= 3 and max(top.values()) == -0.5
        assert text == "" or text == "é" or top[text] == value
    assert client.completions.create(**RAW, logprobs=0).choices[0].logprobs.top_logprobs is None


def test_a_stream_has_the_tokens_of_the_whole(client, script):
    script("one, twEN EN")
    options = {**RAW, "logprobs": 1, "stop": ["END"], "extra_body": {"return_token_ids": True}}
    whole = client.completions.create(**options).choices[0]
    assert whole.token_ids == [*FakeEngine().tokenizer.encode("one, twEN EN"), 0]
    streamed = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    ids = []
    for chunk in client.completions.create(**options, stream=True):
        ids += chunk.choices[0].token_ids
        for name, values in streamed.items():
            values += getattr(chunk.choices[0].logprobs, name)
    assert streamed == whole.logprobs.model_dump(include=set(streamed))
    assert ids == whole.token_ids


def test_offsets_in_a_stream_are_those_of_the_whole(client, script):
    script([1, "END"])  # a token that is shown in parts
    options = {**RAW, "logprobs": 1, "stop": ">ENX"}
    whole = client.completions.create(**options).choices[0].logprobs.text_offset
    assert whole == [0, 12, 13, 14, 15]
    chunks = list(client.completions.create(**options, stream=True))
    streamed = [offset for chunk in chunks for offset in chunk.choices[0].logprobs.text_offset]
    assert streamed == whole


def test_a_token_that_a_stop_cut_through_is_left_out(client, script):
    script("one END")
    options = {**RAW, "logprobs": 1, "stop": "END", "extra_body": {"return_token_ids": True}}
    choice = client.completions.create(**options).choices[0]
    assert (choice.text, choice.logprobs.tokens) == ("one ", list("one "))
    assert choice.token_ids == FakeEngine().tokenizer.encode("one ")


def test_echo_with_logprobs_scores_the_prompt(client, server, script):
    script("xyz")
    choice = client.completions.create(**RAW, echo=True, logprobs=1, max_tokens=1).choices[0]
    found = choice.logprobs
    assert (choice.text, found.tokens) == ("def fx", list("def fx"))
    assert (found.token_logprobs[0], found.top_logprobs[0]) == (None, None)
    assert all(math.isfinite(value) for value in found.token_logprobs[1:])
    assert found.text_offset == list(range(6))
    assert server.engine.requests[-1].prompt_logprobs == 1
    script("")  # what ended the reply at once has its place, too
    ended = client.completions.create(**RAW, echo=True, logprobs=1, max_tokens=1).choices[0]
    assert ended.logprobs.tokens == [*"def f", "<|endoftext|>"] and ended.text == "def f"


@pytest.mark.parametrize("stream", [False, True])
def test_echo_without_logprobs(client, server, script, stream):
    script("()")
    answer = client.completions.create(**RAW, echo=True, stream=stream)
    text = "".join(c.choices[0].text for c in answer) if stream else answer.choices[0].text
    assert text == "def f()"
    asked = len(server.engine.requests)
    alone = client.completions.create(**RAW, echo=True, max_tokens=0, stream=stream)
    chunks = list(alone) if stream else [alone]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "def f"
    assert chunks[-1].choices[0].finish_reason == "length"
    if not stream:
        assert (alone.usage.prompt_tokens, alone.usage.completion_tokens) == (5, 0)
    assert len(server.engine.requests) == asked  # nothing had to be computed


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_of_a_chat(client, script, stream):
    script(" Héy\n\nHuman:")
    options = {"logprobs": True, "top_logprobs": 2, "extra_body": {"return_token_ids": True}}
    answer = client.chat.completions.create(**ASK, **options, stream=stream)
    choices = [chunk.choices[0] for chunk in answer] if stream else answer.choices
    content = [entry for choice in choices for entry in getattr(choice.logprobs, "content", ())]
    assert [entry.token for entry in content] == [" ", "H", "\ufffd", "\ufffd", "y"]
    assert [entry.bytes for entry in content] == [[32], [72], None, None, [121]]
    assert all(len(entry.top_logprobs) == 2 for entry in content)
    ids = [id for choice in choices for id in getattr(choice, "token_ids", ())]
    assert ids == FakeEngine().tokenizer.encode(" Héy")


# -- what is refused


@pytest.mark.parametrize(
    "body, words, param",
    [
        ({}, "The request has no 'prompt', which it must have.", "prompt"),
        ({"prompt": 7}, "prompt must be text, a list of token ids, or a list of either.", "prompt"),
        ({"prompt": ["a", 1]}, "prompt must be text", "prompt"),
        ({"prompt": [True]}, "prompt must be text", "prompt"),
        ({"prompt": ""}, "The prompt is empty.", "prompt"),
        ({"prompt": []}, "The prompt is empty.", "prompt"),
        ({"prompt": [[]]}, "The prompt is empty.", "prompt"),
        ({"prompt": [-1]}, "Token ids must be a list of whole numbers from 0 to 260.", "prompt"),
        ({"prompt": [10**30]}, "Token ids must be a list of whole", "prompt"),
        ({"prompt": "x" * 200_001}, "at most 200,000 characters; it has 200,001.", "prompt"),
        ({"prompt": ["x"] * 9}, "The number of replies must be from 1 to 8, not 9.", "prompt"),
        ({"prompt": ["x"] * 3, "n": 3}, "The number of replies must be from 1 to 8, not 9.", "n"),
        ({"n": 0}, "The number of replies must be from 1 to 8, not 0.", "n"),
        ({"n": 1.5}, "n is wrong: ", "n"),
        ({"max_tokens": 0}, "max_tokens must be from 1 to 8192; 0 was given.", "max_tokens"),
        ({"temperature": 3}, "temperature must be from 0 to 2; 3", "temperature"),
        ({"temperature": "hot"}, "temperature is wrong: ", "temperature"),
        ({"stream": "yes"}, "stream is wrong: ", "stream"),
        ({"stop": ["a"] * 65}, "At most 64 stop strings are allowed; 65 were given.", "stop"),
        ({"stop": ["x" * 257]}, "must have 1 to 256 characters; one has 257.", "stop"),
        ({"stop": 5}, "stop must be text or a list of texts.", "stop"),
        ({"logprobs": 21}, "logprobs must be from 0 to 20; 21 was given.", "logprobs"),
        ({"logit_bias": {"a": 1}}, "logit_bias must give a number to token ids", "logit_bias"),
        ({"logit_bias": {"5": "1e"}}, "logit_bias must give a number", "logit_bias"),
        ({"logit_bias": {"5": True}}, "logit_bias must give a number", "logit_bias"),
        ({"logit_bias": [[5.7, 1]]}, "logit_bias must give a number", "logit_bias"),
        ({"logit_bias": {"5": 10**400}}, "logit_bias must be from -100 to 100", "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "A token id of logit_bias must be from 0", "logit_bias"),
        (
            {"repeat_last_n": 64, "repeat_penalty": 1.2},
            "repeat_last_n must be -1 or 0 beside repetition_penalty",
            "repeat_last_n",
        ),
        ({"guided_regex": "\ud800"}, "half of a character", "guided_regex"),
        ({"logit_bias": [5]}, "logit_bias must give a number", "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias must be from -100 to 100; 101 was", "logit_bias"),
        ({"repeat_penalty": 5}, "repeat_penalty must be from 0.5 to 2; 5", "repeat_penalty"),
        ({"repetition_penalty": 5}, "repetition_penalty must be from 0.5", "repetition_penalty"),
        ({"dry_sequence_breakers": "x"}, "must be a list of texts.", "dry_sequence_breakers"),
        ({"dry_sequence_breakers": "[" * 9000}, "must be a list of texts", "dry_sequence_breakers"),
        ({"stream_options": 5}, "stream_options must be an object.", "stream_options"),
        ({"stream_options": {"include_usage": 5}}, "stream_options.include_usage is wrong: ",
         "stream_options.include_usage"),
        ({"presence_penalty": 3}, "presence_penalty must be from -2 to 2", "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty must be from -2", "frequency_penalty"),
        ({"typical_p": 2}, "typical_p must be above 0 and at most 1", "typical_p"),
        ({"dry_multiplier": 1, "dry_penalty_last_n": 5}, "must be -1", "dry_penalty_last_n"),
        ({"min_tokens": -1}, "min_tokens must be from 0 to 8192; -1 was given.", "min_tokens"),
        ({"stop_token_ids": [261]}, "at most 64 token ids from 0 to 260.", "stop_token_ids"),
        ({"stop_token_ids": [5] * 65}, "at most 64 token ids", "stop_token_ids"),
        ({"allowed_token_ids": [5]}, "allowed_token_ids is not supported", "allowed_token_ids"),
        ({"tool_choice": "required"}, "where there are no tools", "tool_choice"),
        ({"modalities": ["audio"]}, "where replies are text", "modalities"),
        ({"best_of": 2}, "best_of must not be above n: all replies are given back.", "best_of"),
        ({"suffix": "x", "echo": True}, "suffix cannot be combined with echo", "suffix"),
        ({"suffix": "x", "prompt": [5]}, "a prompt of text, not of token ids.", "suffix"),
        ({"suffix": "a\ud83d"}, "The suffix has a lone surrogate", "suffix"),
        ({"suffix": "x", "prompt": "\ud83d"}, "The prompt has a lone surrogate", "prompt"),
        ({"echo": True, "logprobs": 1, "stream": True}, "cannot be streamed", "stream"),
    ],
)  # fmt: skip
def test_a_completion_that_cannot_be(server, client, body, words, param):
    sent = json.dumps({**RAW, **body} if body else {})  # half a character, too
    answer = server.post("/v1/completions", content=sent)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert words in error["message"] and error["message"].endswith(".")
    assert answer.json()["detail"] == error["message"] and "\n" not in error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert server.engine.requests == []


@pytest.mark.parametrize(
    "body, words",
    [
        ({"tools": [{"type": "function"}]}, "tools are not supported here; leave them out."),
        ({"functions": [{}]}, "functions are not supported here; leave them out."),
        ({"response_format": {"type": "xml"}}, "response_format must have the type text, json_o"),
        (
            {"top_logprobs": 21, "logprobs": True},
            "top_logprobs must be from 0 to 20; 21 was given.",
        ),
    ],
)
def test_a_chat_that_cannot_be(server, client, body, words):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**ASK, extra_body=body)
    assert words in caught.value.body["message"]
    assert server.engine.requests == []


def test_what_changes_nothing_is_taken(client):
    nothing = {"logit_bias": {}, "presence_penalty": 0, "frequency_penalty": 0.0, "user": "me"}
    nothing |= {"min_tokens": 0, "guided_json": None, "typical_p": 1, "repeat_last_n": -1}
    chat = {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "store": False}
    chat |= {"modalities": ["text"], "reasoning_effort": "low", "a_key_of_its_own": {"x": [1]}}
    assert client.completions.create(**RAW, extra_body={**nothing, "best_of": 1}).choices
    assert client.chat.completions.create(**ASK, extra_body={**nothing, **chat}).choices


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"prompt": "\xff"}',
        b"[" * 9_000,
        b'{"prompt": ' + b"9" * 5000 + b"}",
    ],
    ids=range(8),
)
def test_a_body_that_is_none(server, client, content):
    headers = {"content-type": "application/json"}
    answer = server.post("/v1/completions", content=content, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"].endswith(".")


def test_what_does_not_fit_says_so(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**RAW | {"prompt": "x" * 8192})
    assert caught.value.code == "context_length_exceeded"
    assert "8192" in caught.value.body["message"]


def test_an_unknown_route_has_the_same_body(server):
    answer = server.get("/v1/embeddings")
    assert answer.status_code == 404 and answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("GET", "/v1/completions", "POST"),
        ("DELETE", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET"),
        ("PUT", "/v1/models/fake", "GET"),
        ("GET", "/generate", "POST"),
        ("POST", "/info", "GET"),
        ("POST", "/metrics", "GET"),
        ("POST", "/health", "GET"),
    ],
)
def test_another_method_is_told_which_one_there_is(server, method, path, allowed):
    answer = server.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    error = answer.json()["error"]
    assert error["message"] == f"There is no {method} at this address; send {allowed}."
    assert error["type"] == "invalid_request_error"


# -- failures


@pytest.fixture
def full(server):
    """Takes every slot and place."""
    never = threading.Event()
    server.engine.script = lambda request: [never]
    body = {"prompt": ["x"] * 8}
    threads = [
        threading.Thread(target=server.post, args=("/v1/completions",),
                         kwargs={"json": body, "timeout": 60}) for _ in range(2)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    until(lambda: len(server.engine.active) == 16)
    yield
    server.engine.script = "Hello."
    never.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_waiting_room(server, full, stream):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    with client, pytest.raises(openai.RateLimitError) as caught:
        client.completions.create(**RAW, stream=stream)
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "1"


def test_prompts_run_all_or_none(server, script):
    script(lambda request: [threading.Event()])
    held = [server.engine.generate(r) for r in [_request(server)] * 10]
    try:
        answer = server.post("/v1/completions", json={"prompt": ["x"] * 8})
        assert answer.status_code == 429
        assert len(server.engine.active) == 10
    finally:
        for stream in held:
            stream.close()


def _request(server):
    return Request((9,), Sampling(), 5)


@pytest.mark.parametrize(
    "error, status",
    [(EngineError("Out of memory."), 503), (EngineDead("Dead."), 503), (ZeroDivisionError(), 500)],
)
def test_an_engine_that_fails(server, client, script, caplog, error, status):
    script(["Half", error])
    sentence = FAILED if status == 500 else str(error)
    answer = server.post("/v1/completions", json=RAW)
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, sentence)
    assert answer.json()["error"]["type"] == "server_error"
    headers = {"x-request-id": "a-name-of-its-own"}
    answer = server.post("/v1/completions", json={**RAW, "stream": True}, headers=headers)
    assert ("the request a-name-of-its-own failed" in caplog.text) == (status == 500)
    *chunks, last = events(answer)
    assert answer.status_code == 200
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "Half"
    assert last["error"]["message"] == sentence
    with pytest.raises(openai.APIError, match=sentence):
        list(client.completions.create(**RAW, stream=True))
    assert ("ZeroDivisionError" in caplog.text) == (status == 500)


def test_a_dead_engine(server, client):
    server.engine.dead = "The engine has stopped."
    try:
        with pytest.raises(openai.InternalServerError, match="The engine has stopped") as caught:
            client.completions.create(**RAW)
        assert caught.value.status_code == 503
    finally:
        server.engine.dead = None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path, body", [("/v1/completions", RAW), ("/v1/chat/completions", ASK)])
def test_a_client_that_leaves_frees_its_slots(server, script, stream, path, body):
    def leave():
        script(["Some", threading.Event()])
        with pytest.raises(httpx.ReadTimeout):
            server.post(path, json={**body, "stream": stream, "n": 3}, timeout=0.5)
        until(lambda: not server.engine.active, FREED_S)

    keeps(leave)


def test_shutting_down_ends_replies_with_what_they_have():
    engine = FakeEngine(lambda request: ["Half", threading.Event()])
    found = []
    with running(engine) as server:

        def ask(stream):
            body = {**RAW, "stream": stream}
            found.append((stream, server.post("/v1/completions", json=body, timeout=60)))

        threads = [threading.Thread(target=ask, args=(stream,)) for stream in (False, True)]
        for thread in threads:
            thread.start()
        until(lambda: len(engine.active) == 2)
    for thread in threads:
        thread.join()
    answers = dict(found)
    (choice,) = answers[False].json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("Half", "abort")
    *_, chunk, done = events(answers[True])
    assert (chunk["choices"][0]["finish_reason"], done) == ("abort", "[DONE]")


@pytest.mark.parametrize(
    "path, body", [("/v1/completions", RAW), ("/generate_stream", {"inputs": "x"})]
)
def test_a_stream_that_waits_says_so(server, script, monkeypatch, path, body):
    """So that nobody in between takes a request in line for one that is lost."""
    monkeypatch.setattr(event_stream, "QUIET_S", 0)
    go_on = threading.Event()
    script([go_on, "Hi"])
    asked = {"json": {**body, "stream": True}, "timeout": 60}
    with httpx.stream("POST", server.url + path, **asked) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(4)] == [": waiting", ""] * 2
        go_on.set()
        assert any('"text":"i"' in line for line in lines)


def test_many_clients_at_once_are_not_crossed(server, script):
    tokenizer = server.engine.tokenizer
    script(lambda request: slowly(tokenizer.decode(request.ids)[::-1], pause=0.01))
    answers = {}

    def ask(number):
        prompt = f"client {number} " * 4
        body = {"prompt": prompt, "stream": number % 2 == 0, "max_tokens": 100}
        answers[number] = prompt, server.post("/v1/completions", json=body, timeout=60)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, (prompt, answer) in answers.items():
        if number % 2 == 0:
            chunks = events(answer)[:-1]
            text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
        else:
            text = answer.json()["choices"][0]["text"]
        assert text == prompt[::-1]


# -- the key


def test_with_a_key(tmp_path):
    path = tmp_path / "key"
    path.write_text("s3cret\n")
    settings = read_settings(["--port", "0", "--api-key-file", str(path)], {})
    assert settings.api_key == "s3cret" and "s3cret" not in repr(settings)
    with running(settings=settings) as server:
        for given in (None, "Bearer wrong", "s3cret", "Basic s3cret", b"Bearer \xff"):
            headers = {"authorization": given} if given else {}
            for method, path, body in (
                ("GET", "/v1/models", None),
                ("GET", "/info", None),
                ("GET", "/metrics", None),
                ("POST", "/v1/completions", RAW),
                ("POST", "/v1/chat/completions", {}),
                ("POST", "/generate", {"inputs": "x"}),
                ("POST", "/generate_stream", {"inputs": "x"}),
                ("POST", "/", {"inputs": "x"}),
            ):
                answer = server.request(method, path, json=body, headers=headers)
                assert answer.status_code == 401
                assert "Authorization: Bearer KEY" in answer.json()["detail"]
        assert server.engine.requests == []
        assert server.get("/").status_code == server.get("/health").status_code == 200
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong")
        with client, pytest.raises(openai.AuthenticationError):
            client.models.list()
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="s3cret") as client:
            assert client.chat.completions.create(**ASK).choices[0].message.content == "Hello."


def test_a_login_without_a_key_closes_the_api():
    with running(settings=Settings(port=0, auth=("me", "secret"))) as server:
        for answer in (
            server.post("/v1/completions", json=RAW),
            server.post("/", json={"inputs": "x"}),
            server.post("/v1/completions", json=RAW, headers={"authorization": "Bearer x"}),
        ):
            assert answer.status_code == 401
            assert "start it with --api-key or --api-key-file" in answer.json()["detail"]


# -- the model that ships


@pytest.fixture(scope="module")
def embedded():
    engine = open_engine(Settings(dtype="float32"))
    with running(engine, template=load_template("tech-assistant-short")) as server:
        yield server
    engine.close()


@pytest.fixture
def model(embedded):
    with openai.OpenAI(base_url=f"{embedded.url}/v1", api_key="none", timeout=100) as client:
        yield client


QUESTION = [{"role": "user", "content": "What does `bisect.insort` do?"}]


def test_the_embedded_model_answers(embedded, model):
    name = model.models.list().data[0].id
    asked = {"model": name, "messages": QUESTION, "temperature": 0, "max_tokens": 40}
    whole = model.chat.completions.create(**asked)
    chunks = list(model.chat.completions.create(**asked, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content and len(text) > 10
    assistant = Assistant(embedded.engine, load_template("tech-assistant-short"), pin=False)
    reply = assistant.reply(
        Conversation().add_message(QUESTION[0]["content"]),
        sampling=Sampling(temperature=0),
        max_new_tokens=40,
    )
    *_, done = reply
    assert done.text == text


def test_the_embedded_model_repeats_a_seed_and_obeys_a_system_message(model):
    system = {"role": "system", "content": "Keep it short."}
    asked = {"model": model.models.list().data[0].id, "messages": [system, *QUESTION]}
    asked |= {"temperature": 1, "seed": 3, "n": 3, "max_tokens": 12, "logprobs": True}
    first, again = (model.chat.completions.create(**asked) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices] and len(set(texts)) > 1
    assert first.usage.prompt_tokens_details.cached_tokens > 300  # the preamble is still met
    for choice in first.choices:
        assert "".join(entry.token for entry in choice.logprobs.content).strip() == (
            choice.message.content + "<|endoftext|>" * (choice.finish_reason == "stop")
        )


def test_the_embedded_model_scores_and_fills(embedded, model):
    name, tokenizer = model.models.list().data[0].id, embedded.engine.tokenizer
    text = "import bisect\n"
    choice = model.completions.create(
        model=name, prompt=text, echo=True, logprobs=1, max_tokens=1, temperature=0
    ).choices[0]
    found = choice.logprobs
    ids = tokenizer.encode(text)
    assert len(found.tokens) == len(ids) + 1 and "".join(found.tokens) == choice.text
    scored = score(embedded.engine, ids[:1], ids[1:], 1)
    expected = [token.logprob for token in scored]
    assert found.token_logprobs[1:-1] == pytest.approx(expected, abs=1e-3)
    assert max(found.top_logprobs[-1].values()) == found.token_logprobs[-1]  # greedy
    if missing_tokens(tokenizer) is None:
        filled = model.completions.create(
            model=name, prompt="def add(a, b):\n    return", suffix=" b\n", max_tokens=5
        )
        assert filled.usage.completion_tokens >= 1


@hypothesis.settings(max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_a_prompt_comes_back_to_the_letter(server, prompt):
    body = {"prompt": prompt, "echo": True, "logprobs": 1, "max_tokens": 1}
    (choice,) = server.post("/v1/completions", json=body).json()["choices"]
    assert choice["text"].startswith(prompt)
    tokens, offsets = choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]
    assert offsets[0] == 0 and offsets == sorted(offsets)
    assert "".join(tokens) == choice["text"]
    raw = {"inputs": prompt, "parameters": {"return_full_text": True, "max_new_tokens": 1}}
    assert server.post("/generate", json=raw).json()["generated_text"].startswith(prompt)


@pytest.mark.parametrize("prompt", ["a\r\n\tb\x0c\x00\u200b\ufeff", "<|endoftext|>\r\n"])
def test_what_is_sent_is_what_the_model_reads(server, prompt):
    server.post("/v1/completions", json={"prompt": prompt, "max_tokens": 1})
    assert server.engine.prompt() == prompt


def test_half_a_character_is_refused(server):
    content = b'{"prompt": "a\\ud800"}'
    answer = server.post(
        "/v1/completions", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400 and "lone surrogate" in answer.json()["error"]["message"]
