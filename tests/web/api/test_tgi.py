"""The API of text-generation-inference over a real socket: huggingface_hub's own client."""

import json
import threading

import httpx
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import GenerationError, HfHubHTTPError, OverloadedError, ValidationError

from assistant.completion.complete import complete
from assistant.engine.open import open_engine
from assistant.errors import EngineError
from assistant.sampling import Sampling
from assistant.settings import Settings
from tests.support.fake_engine import FakeEngine, FakeStream
from tests.support.server import running
from tests.support.waiting import FREED_S, keeps, until


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine(slots=2, queue=0), Settings(port=0, slots=2, queue=0)) as server:
        yield server


@pytest.fixture
def client(server, script):
    yield InferenceClient(base_url=server.url)
    script("Fine.")
    assert server.post("/generate", json={"inputs": "x"}).json() == {"generated_text": "Fine."}


def test_info(server):
    info = server.get("/info").json()
    assert (info["model_id"], info["max_total_tokens"]) == ("fake", 8192)
    assert info["max_input_tokens"] == info["max_input_length"] == 8191
    client = InferenceClient(base_url=server.url, provider="hf-inference")
    assert client.get_endpoint_info()["model_id"] == "fake"


def test_text(client, server, script):
    script("(x): pass")
    assert client.text_generation("def f") == "(x): pass"
    request = server.engine.requests[-1]
    assert (server.engine.prompt(), request.max_new_tokens) == ("def f", 100)
    assert request.sampling.temperature == 0
    assert client.text_generation("def f", return_full_text=True) == "def f(x): pass"
    assert client.text_generation("def f", max_new_tokens=3) == "(x)"


def test_text_streamed(client, script):
    script("(é): END pass")
    pieces = list(client.text_generation("def f", stream=True, stop=["END"]))
    assert "".join(pieces) == "(é): " and len(pieces) >= 5


@pytest.mark.parametrize(
    "script_, options, reason, tokens",
    [
        ("Hé!", {}, "eos_token", ["H", "", "é", "!", "<|endoftext|>"]),
        ("Hello", {"max_new_tokens": 3}, "length", ["H", "e", "l"]),
        ("Hi STOP", {"stop": ["STOP"]}, "stop_sequence", ["H", "i", " "]),
        ([(105, 106), "!"], {}, "eos_token", ["d", "e", "!", "<|endoftext|>"]),
    ],
)
def test_details(client, script, script_, options, reason, tokens):
    script(script_)
    text = "".join(tokens).removesuffix("<|endoftext|>")
    whole = client.text_generation("x", details=True, **options)
    assert whole.generated_text == text
    assert [token.text for token in whole.details.tokens] == tokens
    assert whole.details.finish_reason == reason
    events = list(client.text_generation("x", details=True, stream=True, **options))
    assert [event.token.text for event in events] == tokens
    assert [vars(event.token) for event in events] == [vars(t) for t in whole.details.tokens]
    assert [event.index for event in events] == list(range(1, len(tokens) + 1))
    assert {event.generated_text for event in events[:-1]} <= {None}
    last = events[-1]
    assert (last.generated_text, last.details.finish_reason) == (text, reason)
    assert last.token.special == (reason == "eos_token")
    assert all(token.logprob < 0 for token in whole.details.tokens)
    assert last.details.generated_tokens == whole.details.generated_tokens
    assert (last.details.input_length, type(last.details.seed)) == (1, int)


def test_nothing_but_a_stop_is_one_event(client, script):
    script("STOP")
    (event,) = client.text_generation("x", details=True, stream=True, stop=["STOP"])
    assert (event.token.text, event.generated_text) == ("", "")
    assert event.details.finish_reason == "stop_sequence"


@pytest.mark.parametrize(
    "script_, stop, texts",
    [
        ([1, "ab"], ">END", ["<fim_prefix>", "a", "b", "<|endoftext|>"]),
        ([1, "ab"], "prefix>ab", ["<fim_"]),  # the stop cuts through the token
    ],
)
def test_a_token_that_is_partly_held_back_comes_once(client, script, script_, stop, texts):
    script(script_)
    whole = client.text_generation("x", details=True, stop=[stop])
    assert [token.text for token in whole.details.tokens] == texts
    events = list(client.text_generation("x", details=True, stream=True, stop=[stop]))
    assert [event.token.text for event in events] == texts
    text = "".join(texts).removesuffix("<|endoftext|>")
    assert events[-1].generated_text == whole.generated_text == text


def test_an_engine_that_gives_no_ids_streams_its_text(client, server, script, monkeypatch):
    script("Hé!")
    given = FakeStream._piece
    monkeypatch.setattr(FakeStream, "_piece", lambda self, text, ids: given(self, text, []))
    events = list(client.text_generation("x", details=True, stream=True))
    assert [event.token.text for event in events] == ["H", "é", "!", "<|endoftext|>"]
    assert {event.token.id for event in events[:-1]} == {None}


def test_its_chat_goes_to_the_other_api(client, script):
    script("Good day.")
    answer = client.chat_completion([{"role": "user", "content": "Hi"}], model="fake")
    assert answer.choices[0].message.content == "Good day."


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, (0, 1, 0)),
        ({"do_sample": True}, (1, 1, 0)),
        ({"temperature": 0.5}, (0.5, 1, 0)),
        ({"top_p": 0.9}, (1, 0.9, 0)),
        ({"top_k": 5, "do_sample": False}, (1, 1, 5)),
    ],
)
def test_sampling(client, server, options, expected):
    client.text_generation("x", seed=4, **options)
    sampling = server.engine.requests[-1].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == expected
    assert sampling.seed == 4


def test_a_plug_in_fills_in_the_middle(server, client, script):
    """As editors' plug-ins write it: special tokens in the text, to the server's root."""
    script("return x")
    prompt = "<fim_prefix>def f:\n<fim_suffix>\nf()<fim_middle>"
    body = {"inputs": prompt, "parameters": {"max_new_tokens": 60, "temperature": 0.2}}
    assert server.post("/", json=body).json() == [{"generated_text": "return x"}]
    special = server.engine.tokenizer.special
    ids = server.engine.requests[-1].ids
    assert [token for token in ids if token in special.values()] == [
        special[name] for name in ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
    ]


def test_the_prompts_own_tokens(client, server):
    answer = client.text_generation("abc", details=True, decoder_input_details=True)
    assert [token.text for token in answer.details.prefill] == ["a", "b", "c"]
    assert [token.logprob is None for token in answer.details.prefill] == [True, False, False]
    client.text_generation("abcdef", truncate=2)
    assert server.engine.prompt() == "ef"


def test_the_likeliest_in_each_place(client, script):
    script("Hé")
    whole = client.text_generation("x", details=True, top_n_tokens=2).details
    found = [[(token["text"], token["logprob"]) for token in place] for place in whole.top_tokens]
    assert [len(place) for place in found] == [2, 2, 2, 2]
    assert [place[0][1] for place in found] == [-0.5] * 4
    tokens = [(token.text, token.logprob) for token in whole.tokens]
    assert tokens[0] in found[0] or tokens[0][1] == -1.5
    events = list(client.text_generation("x", details=True, stream=True, top_n_tokens=2))
    assert [event.top_tokens for event in events] == [*whole.top_tokens]
    (event, *_) = client.text_generation("x", details=True, stream=True)
    assert event.top_tokens is None


@pytest.mark.parametrize(
    "parameters, limit",
    [
        ({"stop": "\n", "seed": -1}, 100),
        ({"max_new_tokens": 9000}, 8191),
        ({"max_new_tokens": 6.0}, 6),
    ],
)
def test_numbers_and_stops_as_clients_send_them(server, parameters, limit):
    answer = server.post("/generate", json={"inputs": "x", "parameters": parameters})
    assert answer.status_code == 200
    assert server.engine.requests[-1].max_new_tokens == limit


@pytest.mark.parametrize(
    "body, words",
    [
        ({}, "The request has no 'inputs'"),
        ({"inputs": ""}, "The prompt is empty."),
        ({"inputs": ["x"]}, "inputs is wrong"),
        ({"parameters": "x"}, "parameters must be an object."),
        ({"parameters": {"max_new_tokens": 0}}, "max_new_tokens must be from 1 to 8192; 0"),
        ({"inputs": "x" * 8192}, "window holds 8192"),
        ({"parameters": {"temperature": -1}}, "temperature must be from 0 to 2"),
        ({"parameters": {"grammar": {"type": "xml", "value": "x"}}}, "grammar must have the type"),
        ({"parameters": {"top_n_tokens": 21}}, "top_n_tokens must be from 0 to 20; 21 was given."),
        ({"parameters": {"best_of": 2}}, "best_of must be 1: there is one reply."),
        ({"parameters": {"watermark": True}}, "watermark is not supported here; leave it out."),
        ({"parameters": {"adapter_id": "a"}}, "adapter_id is decided by this server"),
        ({"parameters": {"truncate": 0}}, "truncate must be at least 1."),
        ({"parameters": {"stop": ["x"] * 65}}, "At most 64 stop strings"),
    ],
)
@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/"])
def test_what_is_refused(server, client, path, body, words):
    answer = server.post(path, json={"inputs": "x", **body} if body else body)
    assert answer.status_code == 422
    assert words in answer.json()["error"] and answer.json()["error_type"] == "validation"
    assert server.engine.requests == []


def test_errors_are_the_clients_own(client, server, script):
    with pytest.raises(ValidationError, match="The prompt is empty"):
        client.text_generation("")
    script(["Half", EngineError("Out of memory.")])
    with pytest.raises(GenerationError, match="Out of memory"):
        client.text_generation("x")
    with pytest.raises(GenerationError, match="Out of memory"):
        list(client.text_generation("x", stream=True))
    assert server.post("/generate", json={"inputs": "x"}).status_code == 424
    script(["Half", ZeroDivisionError()])
    with pytest.raises(GenerationError, match="Something went wrong"):
        client.text_generation("x")
    with pytest.raises(ValidationError, match="at most 1048576 bytes"):
        client.text_generation("x" * 2_000_000)
    never = threading.Event()
    script(lambda request: [never])
    threads = [threading.Thread(target=client.text_generation, args=("x",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: len(server.engine.active) == 2)
    with pytest.raises(OverloadedError, match="taken"):
        client.text_generation("x")
    never.set()
    for thread in threads:
        thread.join()


def test_a_wrong_key_is_no_validation():
    with running(settings=Settings(port=0, api_key="k")) as server:
        stranger = InferenceClient(base_url=server.url, token="wrong")
        with pytest.raises(HfHubHTTPError, match="Send the API key of this server") as caught:
            stranger.text_generation("x")
        assert caught.value.response.status_code == 401
        assert InferenceClient(base_url=server.url, token="k").text_generation("x")


def test_a_dead_engine_is_no_failed_generation(server, client):
    server.engine.dead = "The engine has stopped."
    answer = server.post("/generate", json={"inputs": "x"})
    server.engine.dead = None
    assert (answer.status_code, answer.json()["error"]) == (503, "The engine has stopped.")


def test_a_failure_in_a_stream_is_its_last_event(server, client, script):
    script(["Half", EngineError("Out of memory.")])
    answer = server.post("/generate_stream", json={"inputs": "x"})
    *events, last = [json.loads(line[5:]) for line in answer.text.split("\n\n") if line]
    assert "".join(event["token"]["text"] for event in events) == "Half"
    assert last["error"] == "Out of memory."


@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
def test_a_client_that_leaves_frees_its_slot(server, script, path):
    def leave():
        script(["Some", threading.Event()])
        with pytest.raises(httpx.ReadTimeout):
            server.post(path, json={"inputs": "x"}, timeout=0.5)
        until(lambda: not server.engine.active, FREED_S)

    keeps(leave)


def test_the_page_stays_at_the_root(server):
    assert "<html" in server.get("/").text


def test_the_embedded_model_writes_as_it_does_without_the_api():
    engine = open_engine(Settings(dtype="float32"))
    with running(engine) as server:
        client = InferenceClient(base_url=server.url, timeout=100)
        events = list(
            client.text_generation("import bisect\n", max_new_tokens=20, details=True, stream=True)
        )
        *_, done = complete(
            engine,
            "import bisect\n",
            sampling=Sampling(temperature=0, top_p=1),
            max_new_tokens=20,
            logprobs=1,
        )
        assert "".join(event.token.text for event in events) == done.text and done.text
        assert [event.token.id for event in events] == list(done.ids)
        assert events[-1].generated_text == done.text
        filled = client.text_generation(
            "<fim_prefix>def add(a, b):\n    return<fim_suffix> b\n<fim_middle>",
            max_new_tokens=5,
            details=True,
        )
        assert filled.details.generated_tokens >= 1
    engine.close()
