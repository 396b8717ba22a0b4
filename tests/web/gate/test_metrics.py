"""What the engine was asked for, as Prometheus reads it."""

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from assistant.engine.protocol import Request
from assistant.errors import EngineDead, EngineError, RequestError, WindowError
from assistant.generation.generate import generate
from assistant.generation.stops import StopScanner
from assistant.sampling import Sampling
from assistant.settings import Settings
from assistant.web.gate.metrics import OUTCOMES, Measured
from tests.support.fake_engine import FakeEngine
from tests.support.server import Page, running
from tests.support.waiting import until


def figures(text):
    """Sample name, or (name, outcome), to value."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            outcome = sample.labels.get("outcome")
            if set(sample.labels) <= {"outcome"}:
                found[(sample.name, outcome) if outcome else sample.name] = sample.value
    return found


def of(measured):
    from prometheus_client import generate_latest

    return figures(generate_latest(measured.registry).decode())


def outcomes(found):
    counts = {outcome: found["assistant_requests_total", outcome] for outcome in OUTCOMES}
    return {outcome: count for outcome, count in counts.items() if count}


def request(count=100, prompt=4):
    return Request((10,) * prompt, Sampling(), max_new_tokens=count)


def test_what_a_request_adds():
    measured = Measured(FakeEngine("Hello."))
    for _ in range(2):
        list(measured.generate(request()))
    list(measured.generate(request(3)))
    found = of(measured)
    assert outcomes(found) == {"stop": 2, "length": 1}
    assert found["assistant_prompt_tokens_total"] == 12
    assert found["assistant_prompt_tokens_cached_total"] == 8
    assert found["assistant_generated_tokens_total"] == 15
    assert found["assistant_time_to_first_token_seconds_count"] == 3
    assert found["assistant_inter_token_latency_seconds_count"] == 3


def read(measured, stops=()):
    return list(generate(measured, request(), StopScanner(strings=stops)))


def test_a_stop_sequence_is_no_cancel():
    measured = Measured(FakeEngine("Hello. And so on."))
    assert read(measured, ["And"])[-1].text == "Hello. "
    assert outcomes(of(measured)) == {"stop": 1}


def test_who_leaves_cancels_once():
    measured = Measured(FakeEngine(["Half", 60.0]))
    reply = generate(measured, request(), StopScanner(), wait_s=0)
    next(reply)
    reply.close()
    assert list(reply)[-1].reason == "cancelled"
    reply.close()
    found = of(measured)
    assert outcomes(found) == {"cancelled": 1}
    assert found["assistant_generated_tokens_total"] > 0


@pytest.mark.parametrize(
    "engine, error, outcome",
    [
        (FakeEngine(["Half", EngineError("No memory.")]), EngineError, "error"),
        (FakeEngine(["Half", RuntimeError("Ours.")]), RuntimeError, "error"),
        (FakeEngine(window=50), WindowError, "refused"),
        (FakeEngine(["Half", RequestError("Not so.")]), RequestError, "refused"),
        (FakeEngine(slots=0, queue=0), Exception, "busy"),
    ],
)
def test_what_fails_is_counted_once(engine, error, outcome):
    measured = Measured(engine)
    with pytest.raises(error):
        read(measured)
    assert outcomes(of(measured)) == {outcome: 1}


def test_what_is_refused_over_http_is_counted_once_whoever_refuses_it():
    chat = [{"role": "user", "content": "x"}]
    with running(FakeEngine(window=400)) as server:
        for count, (path, body) in enumerate((
            ("/v1/completions", {"prompt": "x" * 400}),
            ("/v1/completions", {"prompt": "x", "temperature": 9}),
            ("/v1/completions", {"prompt": "x", "stop": ["x"] * 65, "stream": True}),
            ("/v1/completions", {"prompt": "x", "temperature": "hot"}),
            ("/v1/chat/completions", {"messages": []}),
            ("/v1/chat/completions", {"messages": chat, "max_tokens": 0}),
            ("/generate", {"inputs": ""}),
            ("/generate_stream", {"inputs": "x", "parameters": {"best_of": 2}}),
        ), 1):  # fmt: skip
            assert 400 <= server.post(path, json=body).status_code < 500
            assert outcomes(figures(server.get("/metrics").text)) == {"refused": count}
        server.engine.window = 10**6  # the engine's own refusal
        server.engine.generate = refuse
        server.post("/v1/completions", json={"prompt": "x"})
        assert outcomes(figures(server.get("/metrics").text)) == {"refused": count + 1}


def refuse(request, wait_s):
    raise WindowError("It does not fit.")


def test_a_full_or_dead_engine_is_counted_where_it_is_asked_first():
    engine = FakeEngine(slots=0, queue=0)
    measured = Measured(engine)
    with pytest.raises(Exception, match="places are taken"):
        measured.check_room()
    engine.dead = "Dead."
    with pytest.raises(EngineDead):
        measured.check_room()
    assert outcomes(of(measured)) == {"busy": 1, "error": 1}


def test_where_a_key_is_asked_for_it_is_asked_for_here_too():
    settings = Settings(port=0, api_key="s3cret")
    with running(FakeEngine(), settings) as server:
        assert server.get("/metrics").status_code == 401
        for key, status in (("s3cret", 200), ("other", 401)):
            answer = server.get("/metrics", headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status
        assert server.get("/health").status_code == 200


def test_all_else_is_the_engines_own():
    engine = FakeEngine()
    measured = Measured(engine)
    measured.pin((1, 2))
    assert (measured.model, measured.window, measured.tokenizer) == (
        engine.model, engine.window, engine.tokenizer,
    )  # fmt: skip
    assert engine.pinned == [(1, 2)]
    measured.close()
    assert engine._closed


def test_over_http_what_runs_and_waits_is_told_and_goes_back_to_nothing():
    go_on = threading.Event()
    engine = FakeEngine(["Once ", go_on], slots=1)
    with running(engine, Settings(port=0, slots=1)) as server, Page(server.url) as page:

        def told():
            answer = server.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=")
            return figures(answer.text)

        assert told()["assistant_requests_running"] == 0
        assert told()["process_resident_memory_bytes"] > 0
        with page.news("chat", text="hi") as one, page.news("chat", text="hi") as other:
            until(lambda: told()["assistant_requests_waiting"] == 1)
            assert told()["assistant_requests_running"] == 1
            go_on.set()
            assert all("turn" in list(news)[-1] for news in (one, other))
        until(lambda: outcomes(told()) == {"stop": 2})
        assert told()["assistant_requests_running"] == told()["assistant_requests_waiting"] == 0
