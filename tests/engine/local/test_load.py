"""Many clients of the API at once, and many that give up: nothing lost, crossed or left behind."""

import json
import resource
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from assistant.settings import Settings
from tests.support.engines import greedy, make_engine, read
from tests.support.fake_engine import FakeEngine
from tests.support.server import running
from tests.support.waiting import TooLate, keeps, until

CLIENTS, TOKENS = 50, 64
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # a client takes two: ours, the server's
IMPATIENT = 200 if FILES == resource.RLIM_INFINITY else max(min(200, FILES // 2 - 50), 1)
PATIENCE_S, ANSWERED_S = 0.5, 30


def say(client):
    """What the scripted engine writes for a client: 64 bytes, each a token."""
    return f"<{client:02}> and so on, ".ljust(TOKENS, f"{client % 10}")


def echo(request):
    prompt = FakeEngine().tokenizer.decode(request.ids)
    text = say(int(prompt.removeprefix("client "))) + "never shown"
    return [item for at in range(0, len(text), 4) for item in (text[at : at + 4], 0.01)]


def stream(url, prompt):
    """(the text of all events, the last finish reason, the tokens that usage counts)."""
    text, finish, tokens, ended = "", None, None, False
    body = {"prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "stream": True}
    body["stream_options"] = {"include_usage": True}
    with httpx.stream("POST", url + "/v1/completions", json=body, timeout=100) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            assert not ended or not line
            if line == "data: [DONE]":
                ended = True
            elif line and not line.startswith(":"):  # a comment while it waits
                event = json.loads(line.removeprefix("data: "))
                tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
                for choice in event["choices"]:
                    assert finish is None
                    text += choice["text"]
                    finish = choice["finish_reason"]
    assert ended
    return text, finish, tokens


def at_once(url, prompts):
    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(lambda prompt: stream(url, prompt), prompts))


def idle(server):
    until(lambda: server.health()["running"] == server.health()["waiting"] == 0)


def test_fifty_streams_at_once():
    with running(FakeEngine(echo)) as server:
        answers = at_once(server.url, [f"client {client}" for client in range(CLIENTS)])
        assert answers == [(say(client), "length", TOKENS) for client in range(CLIENTS)]
        idle(server)


def test_fifty_streams_of_a_model_give_what_the_engine_gives(tiny_checkpoint):
    engine = make_engine(tiny_checkpoint, slots=8, queue=64)
    prompts = [f"client {client}" for client in range(CLIENTS)]
    with running(engine, Settings(port=0), max_new_tokens=64) as server:
        expected, stop = [], frozenset({engine.tokenizer.eos_id})
        for prompt in prompts:
            ids = engine.tokenizer.encode(prompt)
            text, _, finished = read(engine.generate(greedy(ids, TOKENS, stop_ids=stop)))
            expected.append((text, finished.reason, finished.new_tokens))
        assert at_once(server.url, prompts) == expected
        idle(server)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_two_hundred_that_give_up(streamed):
    """Those that find no room are refused; the others leave while they wait or are written to."""

    def script(request):
        prompt = FakeEngine().tokenizer.decode(request.ids)
        return ["Once ", 60.0] if "slow" in prompt else "Hello."

    def ask(_):
        body = {"prompt": "slow", "stream": streamed}
        try:
            return httpx.post(url + "/v1/completions", json=body, timeout=PATIENCE_S).status_code
        except httpx.TimeoutException:
            return None

    def answered():
        body = {"prompt": "hi"}
        try:
            answer = httpx.post(url + "/v1/completions", json=body, timeout=ANSWERED_S)
        except httpx.TimeoutException:
            raise TooLate(f"no answer in {ANSWERED_S} s") from None
        assert answer.status_code == 200 and answer.json()["choices"][0]["text"] == "Hello."

    with running(FakeEngine(script)) as server:
        url = server.url
        with ThreadPoolExecutor(IMPATIENT) as pool:
            codes = list(pool.map(ask, range(IMPATIENT)))
        assert set(codes) <= {None, 429} and None in codes
        keeps(answered)
        idle(server)
        assert not server.engine.active
