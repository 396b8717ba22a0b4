"""What editors and frontends send that are no Python packages, answered as each of them reads it.

tests/clients/bodies/ holds a body of each, written by its public source, which the file names.
"""

import dataclasses
import json
import re

import pytest
import yaml

from assistant.paths import ROOT
from assistant.settings import Settings
from tests.support.fake_engine import FakeEngine
from tests.support.server import TEMPLATE, running

BODIES = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((ROOT / "tests" / "clients" / "bodies").glob("*.json"))
}
SAMPLING = {"temperature", "top_p", "top_k", "repetition_penalty"}
MODEL = "tech-assistant-7m"
TEXT = "a + b  # é"


@pytest.fixture(scope="module")
def server():
    engine = FakeEngine()
    engine.model = MODEL
    template = dataclasses.replace(TEMPLATE, system="Rule: {system}\n\n")
    with running(engine, Settings(port=0), template=template) as server:
        yield server


@pytest.fixture(params=BODIES)
def record(request, server, script):
    script(TEXT)
    yield BODIES[request.param]
    script("Fine.")
    assert server.post("/generate", json={"inputs": "x"}).json() == {"generated_text": "Fine."}


def send(server, record, **others):
    body = json.dumps({**record["body"], **others})
    headers = {"Content-Type": "application/json", **record["headers"]}
    return server.post(record["route"], content=body, headers=headers)


def events(answer):
    """The values of server-sent events, as all of these read them: up to [DONE], if it comes."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    for line in filter(None, answer.text.split("\n")):
        assert line.startswith("data: ")
        if line == "data: [DONE]":
            return
        yield json.loads(line[6:])


def first(value):
    """Of a chunk's choices; the chunk that tells the usage has none."""
    return (value["choices"] or [{}])[0]


def tokens(answer):
    values = list(events(answer))
    assert values[-1]["generated_text"] is not None and values[-1]["details"]["finish_reason"]
    return "".join(value["token"]["text"] for value in values if not value["token"]["special"])


READ = {  # what a client takes for the text
    "generated_text": lambda answer: answer.json()["generated_text"],
    "choices": lambda answer: "".join(choice["text"] for choice in answer.json()["choices"]),
    "text events": lambda answer: "".join(first(v).get("text") or "" for v in events(answer)),
    "delta events": lambda answer: "".join(
        first(v).get("delta", {}).get("content") or "" for v in events(answer)
    ),
    "token events": tokens,
}


def test_it_is_answered_and_done_as_asked(server, record):
    answer = send(server, record)
    assert answer.status_code == 200, answer.text
    assert READ[record["reads"]](answer) == TEXT
    (request,) = server.engine.requests
    body, asked = record["body"], dict(record["understood"])
    if prompt := body.get("prompt") or body.get("inputs"):
        assert list(request.ids) == server.engine.tokenizer.encode(prompt, trusted=True)
    else:
        said = [server.engine.prompt().find(message["content"]) for message in body["messages"]]
        assert said == sorted(said) and -1 not in said
    assert request.max_new_tokens == asked.pop("max_new_tokens")
    assert {name: getattr(request.sampling, name) for name in SAMPLING & asked.keys()} == asked


def test_each_of_its_stops_ends_the_reply(server, record, script):
    body = record["body"]
    for stop in body.get("stop") or body.get("parameters", {}).get("stop") or []:
        script(TEXT + stop + "more")
        assert READ[record["reads"]](send(server, record)).removesuffix(stop) == TEXT


def test_it_is_told_what_is_wrong_where_it_looks(server, record):
    long = "a" * 9000
    others = {name: long for name in ("prompt", "inputs") if name in record["body"]}
    others = others or {"messages": [{"role": "user", "content": long}]}
    answer = send(server, record, **others)
    assert 400 <= answer.status_code < 500
    told = answer.json()
    for key in record["error"]:
        told = told[key]
    assert "shorten the text" in told


def test_what_they_ask_first(server):
    """Continue and SillyTavern take the model's name from there."""
    (model,) = server.get("/v1/models").json()["data"]
    assert (model["id"], model["max_model_len"]) == (MODEL, 8192)
    assert server.get("/info").json()["model_id"] == MODEL


def test_the_papers_name_the_settings_that_give_these_bodies():
    paper = (ROOT / "docs" / "clients.md").read_text("utf-8")
    (settings,) = re.findall(r"```json\n(.*?)```", paper, re.DOTALL)
    settings, body = json.loads(settings), BODIES["llm-ls-tgi"]["body"]
    assert settings["llm.requestBody"]["parameters"].items() <= body["parameters"].items()
    marks = (settings[f"llm.fillInTheMiddle.{name}"] for name in ("prefix", "suffix", "middle"))
    assert re.fullmatch(".*".join(map(re.escape, marks)), body["inputs"], re.DOTALL)
    models = yaml.safe_load(re.search(r"```yaml\n(name:.*?)```", paper, re.DOTALL)[1])["models"]
    for model in models:
        body = BODIES[f"continue-{model['roles'][0]}"]["body"]
        assert model["model"] == body["model"] == MODEL
        assert model["defaultCompletionOptions"]["maxTokens"] == body["max_tokens"]
