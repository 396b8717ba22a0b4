"""Tokens with their probabilities, and going on with another one."""

import threading
from math import exp

import pytest

from assistant.chat.assistant import Assistant
from assistant.completion.complete import complete
from assistant.completion.inspector import branch, score, scoring
from assistant.completion.raw import Raw
from assistant.conversation import Conversation
from assistant.engine.open import open_engine
from assistant.engine.protocol import Waiting
from assistant.errors import EngineError, RequestError, SamplingError, WindowError
from assistant.generation.generate import Done
from assistant.prompting.load import load_template
from assistant.prompting.template import encode
from assistant.sampling import Sampling
from assistant.settings import Settings
from tests.support.fake_engine import FakeEngine

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def embedded():
    engine = open_engine(Settings(device="cpu", dtype="float32"))  # decode and prefill in one
    yield engine
    engine.close()


def last(events):
    *_, done = events
    assert isinstance(done, Done)
    return done


def test_each_token_with_its_text_and_alternatives():
    engine = FakeEngine()
    prompt, ids = engine.tokenizer.encode("ab"), engine.tokenizer.encode("cé😀d")
    tokens = score(engine, prompt, ids, 3)
    (request,) = engine.requests
    assert (request.ids, request.prompt_logprobs) == ((*prompt, *ids), 3)
    assert request.max_new_tokens == 0
    assert [token.id for token in tokens] == ids
    assert "".join(token.text for token in tokens) == "cé😀d"
    assert [token.text for token in tokens] == ["c", "", "é", "", "", "", "😀", "d"]
    for token in tokens:
        assert len(token.top) == 3
        assert token.top[0][2] >= token.top[1][2] >= token.top[2][2]
        assert token.id in [id for id, *_ in token.top]
        assert all(text == engine.tokenizer.decode([id]) for id, text, _ in token.top)
    assert engine.active == []


def test_half_a_character_at_the_end_is_shown():
    engine = FakeEngine()
    tokens = score(engine, [9], engine.tokenizer.encode("aé")[:-1])
    assert [token.text for token in tokens] == ["a", "\ufffd"]


def test_a_text_that_fills_the_window_can_be_inspected():
    engine = FakeEngine(window=8)
    assert len(score(engine, [9] * 3, [9] * 5)) == 5
    with pytest.raises(WindowError):
        score(engine, [9] * 4, [9] * 5)


@pytest.mark.parametrize(
    "prompt, ids, top, error",
    [
        ([], [9], 5, RequestError),
        ([9], [], 5, RequestError),
        ([9], [10**6], 5, RequestError),
        ([-1], [9], 5, RequestError),
        ([9], ["9"], 5, RequestError),
        ([9], None, 5, RequestError),
        ([9], [9], 0, SamplingError),
        ([9], [9], 21, SamplingError),
        ([9], [9], "5", SamplingError),
    ],
)
def test_what_is_asked_wrongly_never_reaches_the_engine(prompt, ids, top, error):
    engine = FakeEngine()
    with pytest.raises(error):
        score(engine, prompt, ids, top)
    assert engine.requests == []
    assert len(score(engine, [9], [9])) == 1


def test_it_can_be_left_while_it_waits():
    never = threading.Event()
    engine = FakeEngine(["a", never], slots=1)
    running = complete(engine, "x", sampling=GREEDY, max_new_tokens=9)
    events = scoring(engine, [9], [9], wait_s=0)
    assert [next(events) for _ in range(3)] == [Waiting(1)] * 3
    events.close()
    assert len(engine.active) == 1
    running.close()


def test_an_engine_that_closes_is_no_answer():
    engine = FakeEngine(slots=1)
    running = complete(engine, "x", sampling=GREEDY, max_new_tokens=9)
    events = scoring(engine, [9], [9], wait_s=0)
    next(events)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        list(events)
    running.close()


# Branches


def test_a_branch_is_what_stands_before_and_the_choice():
    engine = FakeEngine("more")
    tokens = score(engine, engine.tokenizer.encode("p"), engine.tokenizer.encode("abc"))
    choice = tokens[1].top[2][0]
    ids = branch(tokens, 1, choice)
    assert ids == (tokens[0].id, choice)
    assert last(complete(engine, "p", sampling=GREEDY, max_new_tokens=9, begun=ids)).text == "more"
    assert engine.requests[-1].ids == (*engine.tokenizer.encode("p"), *ids)
    assert branch(tokens, 0, tokens[0].id) == (tokens[0].id,)


@pytest.mark.parametrize("index, choice", [(-1, 0), (3, 0), ("1", 0), (None, 0), (True, 0)])
def test_a_branch_at_no_token(index, choice):
    tokens = score(engine := FakeEngine(), [9], engine.tokenizer.encode("abc"))
    with pytest.raises(RequestError, match="tokens 0 to 2"):
        branch(tokens, index, choice)


@pytest.mark.parametrize("choice", [0, -1, 10**9, None, "5", [5]])
def test_a_branch_to_no_alternative(choice):
    tokens = score(engine := FakeEngine(), [9], engine.tokenizer.encode("abc"), 3)
    with pytest.raises(RequestError, match="not an alternative"):
        branch(tokens, 1, choice)


# With the model that ships


def test_what_the_model_wrote_greedily_is_the_likeliest(embedded):
    prompt = "def total(numbers):\n    "
    done = last(complete(embedded, prompt, sampling=GREEDY, max_new_tokens=12))
    ids = Raw(prompt).ids(embedded.tokenizer)
    tokens = score(embedded, ids, done.ids)
    assert "".join(token.text for token in tokens) == done.text
    for token in tokens:
        assert token.top[0][0] == token.id and token.top[0][2] == pytest.approx(token.logprob)
        assert 0 < sum(exp(value) for *_, value in token.top) <= 1 + 1e-5
    second = tokens[3].top[1]
    begun = branch(tokens, 3, second[0])
    other = last(complete(embedded, prompt, sampling=GREEDY, max_new_tokens=4, begun=begun))
    text = "".join(token.text for token in tokens[:3]) + second[1]
    assert embedded.tokenizer.decode((*begun, *other.ids)) == text + other.text


def test_a_reply_of_the_chat_can_be_inspected(embedded):
    assistant = Assistant(embedded, load_template("tech-assistant-short"), max_new_tokens=16)
    chat = Conversation().add_message("What does len do?")
    done = last(assistant.reply(chat, sampling=GREEDY))
    prompt = encode(assistant.segments(chat), embedded.tokenizer)
    tokens = score(embedded, prompt, done.ids)
    assert "".join(token.text for token in tokens).strip() == done.text
    assert all(token.top[0][0] == token.id for token in tokens)
