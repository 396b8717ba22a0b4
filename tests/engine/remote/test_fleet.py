"""Several servers as one engine: which takes a request, and what happens when one fails."""

import threading

import pytest

from assistant.engine.prefix import common_prefix
from assistant.engine.remote import servers
from assistant.engine.remote.fleet import ALIKE, SPREAD, Endpoint, choose_endpoint
from assistant.errors import EngineError, SettingsError
from tests.engine.remote.test_engine import healthy
from tests.support.reading import greedy, read
from tests.support.scripted_server import NEVER, serving, vllm
from tests.support.waiting import until

PREAMBLE = tuple(range(100))


def endpoints(*busy):
    return [Endpoint(None, kind="vllm", busy=count) for count in busy]


def prompt(number, length=60):
    return (*PREAMBLE, *(1000 * number + n for n in range(length)))


def test_the_least_busy_takes_it():
    one, two, three = endpoints(2, 1, 2)
    assert choose_endpoint([one, two, three], prompt(1)) is two
    two.busy = 3
    one.taken = 1
    assert choose_endpoint([one, two, three], prompt(1)) is three  # of equals, who had less


def test_a_conversation_stays_where_its_prefix_is():
    one, two = endpoints(0, 0)
    two.begin(prompt(1))
    longer = (*prompt(1), *range(5000, 5040))
    assert choose_endpoint([one, two], longer, len(PREAMBLE)) is two
    assert (
        choose_endpoint([one, two], prompt(2), len(PREAMBLE)) is one
    )  # the preamble alone is no reason
    one.begin(longer)
    assert (
        choose_endpoint([one, two], (*longer, 7), len(PREAMBLE)) is one
    )  # the longest prefix counts


def test_a_prefix_does_not_outweigh_a_crowd():
    one, two = endpoints(0, 0)
    for _ in range(SPREAD):
        two.begin(prompt(1))
    assert choose_endpoint([one, two], prompt(1), len(PREAMBLE)) is two
    two.begin(prompt(1))
    assert choose_endpoint([one, two], prompt(1), len(PREAMBLE)) is one


def test_one_that_failed_is_left_out_unless_all_have():
    one, two = endpoints(0, 5)
    one.failed = True
    assert choose_endpoint([one, two], prompt(1)) is two
    assert choose_endpoint([one, two], prompt(1), avoid=two) is one
    two.failed = True
    assert choose_endpoint([one, two], prompt(1)) is one
    assert choose_endpoint([one], prompt(1), avoid=one) is one
    unknown = Endpoint(None)
    assert choose_endpoint([unknown, two], prompt(1)) is two


def test_few_tokens_in_common_are_no_prefix():
    one, two = endpoints(0, 0)
    known = prompt(1)
    two.begin(known)
    assert two.known_prefix((*known[: 100 + ALIKE], 1), 100) == 100 + ALIKE
    assert two.known_prefix((*known[: 99 + ALIKE], 1, 2), 100) == 0
    assert common_prefix((1, 2, 3), (1, 2, 4)) == 2 and common_prefix((), (1,)) == 0


# -- in front of servers -------------------------------------------------------------------------


@pytest.fixture
def two(model_files, tokenizer):
    kind = vllm(str(model_files), encode=tokenizer.encode, eos=tokenizer.eos_id)
    with serving(kind) as one, serving(kind) as other:
        yield one, other


def posts(server):
    return sum(path == "/v1/completions" for path, _ in server.seen)


def ask(engine, tokenizer, text="Say it."):
    stops = frozenset({tokenizer.eos_id})
    return engine.generate(greedy(tokenizer.encode(text), 20, stop_ids=stops), wait_s=0.01)


def test_requests_are_shared_out(two, open_remote, tokenizer):
    engine = open_remote(*two)
    begun = [posts(server) for server in two]
    gate = threading.Event()
    for server in two:
        server.reply = ["Hel", gate, "lo."]
    streams = [ask(engine, tokenizer, f"Question {n}") for n in range(6)]
    until(lambda: sum(map(posts, two)) - sum(begun) == 6)
    assert [posts(server) - n for server, n in zip(two, begun, strict=True)] == [3, 3]
    gate.set()
    assert [read(stream)[0] for stream in streams] == ["Hello."] * 6
    until(lambda: engine.status().running == engine.status().waiting == 0)


def test_one_fails_and_the_other_takes_the_request(
    two,
    open_remote,
    tokenizer,
    monkeypatch,
):
    monkeypatch.setattr(servers, "PAUSE_S", 0.05)
    engine = open_remote(*two)
    for server, other in (two, two[::-1]):
        server.fault = "dropped"
        asked = posts(other)
        for _ in range(4):
            healthy(engine, tokenizer)
        assert posts(other) == asked + 4
        server.fault = None
        # It is asked again, and then it gets its share.
        until(lambda server=server: not failed(engine, server))
        asked = posts(server)
        streams = [ask(engine, tokenizer, f"Question {n}") for n in range(4)]
        assert [read(stream)[0] for stream in streams] == ["Hello."] * 4
        assert posts(server) > asked


def failed(engine, server):
    known = {one.client.base_url.port: one for one in engine._servers.endpoints}
    return known[server.server_port].failed


@pytest.mark.parametrize("fault", ["401", "429", "503", "500", "silence"])
def test_any_fault_of_one_is_made_up_for_by_the_other(
    two,
    fault,
    open_remote,
    tokenizer,
    monkeypatch,
):
    engine = open_remote(*two)
    two[0].fault = fault
    with monkeypatch.context() as patch:
        if fault == "silence":
            patch.setattr("assistant.engine.remote.http.SILENCE_S", 2)
        for _ in range(3):
            healthy(engine, tokenizer)
        two[1].fault = fault
        with pytest.raises(EngineError):
            healthy(engine, tokenizer)
    two[0].fault = two[1].fault = None
    healthy(engine, tokenizer)  # all have failed: they are asked all the same


def test_silence_before_the_first_token_is_a_long_line(two, open_remote, tokenizer, monkeypatch):
    """Silence behind it is a failure."""
    engine = open_remote(*two)
    monkeypatch.setattr("assistant.engine.remote.http.SILENCE_S", 0.3)
    for server in two:
        server.fault = "silence"
    with pytest.raises(EngineError, match="too slow for 0.3 seconds"):
        read(ask(engine, tokenizer))
    assert not failed(engine, two[0]) and not failed(engine, two[1])
    monkeypatch.setattr("assistant.engine.remote.http.SILENCE_S", 3)  # enough for the first token
    for server in two:
        server.fault, server.reply = None, ["Hel", NEVER]
    with pytest.raises(EngineError, match="too slow for 3 seconds"):
        read(ask(engine, tokenizer))
    assert failed(engine, two[0]) or failed(engine, two[1])


def test_one_that_is_not_there_at_the_start_comes_later(
    two,
    open_remote,
    tokenizer,
    monkeypatch,
):
    monkeypatch.setattr(servers, "PAUSE_S", 0.05)
    one, other = two
    one.fault = "500"
    engine = open_remote(one, other)
    healthy(engine, tokenizer)
    one.fault = None
    until(lambda: engine._servers.endpoints[0].kind)
    other.fault = "dropped"
    healthy(engine, tokenizer)


def test_servers_with_different_models_are_refused(model_files, open_remote):
    with serving(vllm(str(model_files))) as one, serving(vllm("other")) as other:
        with pytest.raises(SettingsError, match="all must have the same") as caught:
            open_remote(one, other)
        assert other.url in str(caught.value)


def test_a_server_that_comes_back_with_less_stays_out(
    two,
    open_remote,
    tokenizer,
    monkeypatch,
    caplog,
):
    monkeypatch.setattr(servers, "PAUSE_S", 0.05)
    caplog.set_level("INFO")
    engine = open_remote(*two)
    two[0].fault = "dropped"
    healthy(engine, tokenizer)
    entry = {"id": two[0].seen[0][1]["model"], "owned_by": "vllm", "max_model_len": 100}
    two[0].routes["GET", "/v1/models"] = lambda _: {"data": [entry]}
    two[0].fault = None
    until(lambda: "can do less" in caplog.text)
    assert failed(engine, two[0])
    healthy(engine, tokenizer)


def test_a_server_that_comes_back_with_another_model_is_not_asked(
    two, open_remote, tokenizer, monkeypatch
):
    monkeypatch.setattr(servers, "PAUSE_S", 0.05)
    engine = open_remote(*two)
    before = [server.routes["GET", "/v1/models"] for server in two]
    entry = {"id": "other", "owned_by": "vllm", "max_model_len": 256}
    asked = []
    for server in two:
        server.fault = "dropped"
        server.routes["GET", "/v1/models"] = lambda _: {"data": [entry]}
    with pytest.raises(EngineError):
        read(ask(engine, tokenizer))
    for server, endpoint in zip(two, engine._servers.endpoints, strict=True):
        until(lambda endpoint=endpoint: not endpoint.kind)
        server.fault = None
        asked.append(posts(server))
    with pytest.raises(EngineError, match="the model 'other', and another one"):
        read(ask(engine, tokenizer))
    assert [posts(server) for server in two] == asked
    for server, route in zip(two, before, strict=True):
        server.routes["GET", "/v1/models"] = route
    until(lambda: not failed(engine, two[0]) and not failed(engine, two[1]))
    healthy(engine, tokenizer)
