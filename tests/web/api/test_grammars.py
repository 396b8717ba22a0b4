"""What a reply must match, in the forms of four servers."""

import pytest

from assistant import grammar
from assistant.errors import RequestError
from assistant.web.api.grammars import read_grammar
from tests.support.fake_engine import FakeEngine
from tests.support.server import running

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
GBNF = 'root ::= "yes" | "no"\n'
JSON, OBJECT = grammar.json_schema(SCHEMA), grammar.json_object()
DIGITS = grammar.regex("[0-9]+")


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({}, None),
        ({"response_format": {"type": "text"}, "guided_json": None, "grammar": ""}, None),
        ({"response_format": {"type": "json_object"}}, OBJECT),
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, JSON),
        ({"response_format": {"type": "json_object", "value": SCHEMA}}, JSON),
        ({"response_format": FORMAT}, JSON),
        ({"response_format": {"type": "json", "value": SCHEMA}}, JSON),
        ({"response_format": {"type": "regex", "value": "[0-9]+"}}, DIGITS),
        ({"text.format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}, JSON),
        ({"structured_outputs": {"json": SCHEMA, "regex": None}}, JSON),
        ({"structured_outputs": {"regex": "[0-9]+"}}, DIGITS),
        ({"structured_outputs": {"choice": ["a", "b"]}}, grammar.choice(["a", "b"])),
        ({"structured_outputs": {"json_object": True}}, OBJECT),
        ({"guided_json": '{"type": "object"}'}, grammar.json_schema('{"type": "object"}')),
        ({"guided_regex": "[0-9]+"}, DIGITS),
        ({"guided_choice": ["a", "b"]}, grammar.choice(["a", "b"])),
        ({"guided_grammar": 'start: "a"'}, grammar.lark('start: "a"')),
        ({"json_schema": SCHEMA, "response_format": {"type": "text"}}, JSON),
        ({"grammar": {"type": "json", "value": SCHEMA}}, JSON),
        ({"grammar": {"type": "json_schema", "value": SCHEMA}}, JSON),
        ({"grammar": {"type": "json_schema", "value": {"name": "x", "schema": SCHEMA}}}, JSON),
        ({"grammar": {"type": "regex", "value": "[0-9]+"}}, DIGITS),
    ],
)  # fmt: skip
def test_forms(fields, expected):
    assert read_grammar(fields) == expected


def test_gbnf():
    assert read_grammar({"grammar": GBNF}) == read_grammar({"guided_grammar": GBNF})
    assert '"yes"' in read_grammar({"grammar": GBNF})


@pytest.mark.parametrize(
    "fields, words, param",
    [
        ({"guided_json": SCHEMA, "grammar": GBNF}, "Send one of guided_json and grammar", None),
        ({"response_format": {"type": "xml"}}, "must have the type text", "response_format"),
        ({"response_format": {"type": "json_schema"}}, "must have the type", "response_format"),
        ({"response_format": "json"}, "must have the type", "response_format"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "only one", "structured_outputs"),
        ({"structured_outputs": {"structural_tag": "x"}}, "must have one of", "structured_outputs"),
        ({"structured_outputs": [1]}, "must have one of", "structured_outputs"),
        ({"guided_json": [1]}, "schema must be an object", "guided_json"),
        ({"guided_json": {"type": "no such"}}, "cannot be read", "guided_json"),
        ({"guided_regex": "("}, "cannot be read", "guided_regex"),
        ({"guided_choice": [1]}, "must be a list of texts", "guided_choice"),
        ({"guided_choice": ["a"] * 2000}, "at most 1000 texts", "guided_choice"),
        ({"grammar": "root ::= ("}, "no GBNF that can be read", "grammar"),
        ({"grammar": "root ::= " + "(" * 7_000}, "no GBNF that can be read", "grammar"),
        ({"grammar": "root ::= " + "x" * 9_000}, "at most 8,000 characters", "grammar"),
    ],
)  # fmt: skip
def test_what_is_no_grammar(fields, words, param):
    with pytest.raises(RequestError, match=words) as caught:
        read_grammar(fields)
    assert caught.value.param == param and "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def server():
    with running(FakeEngine()) as server:
        yield server
        assert server.post("/generate", json={"inputs": "x"}).status_code == 200


@pytest.mark.parametrize(
    "path, body",
    [
        ("/v1/completions", {"prompt": "x", "response_format": FORMAT}),
        ("/v1/completions", {"prompt": "x", "suffix": "y", "guided_json": SCHEMA}),
        ("/v1/chat/completions", {"response_format": FORMAT}),
        ("/v1/chat/completions", {"structured_outputs": {"json": SCHEMA}, "stream": True}),
        ("/v1/responses", {"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
        ("/generate", {"parameters": {"grammar": {"type": "json", "value": SCHEMA}}}),
        ("/completion", {"prompt": "x", "json_schema": SCHEMA}),
        ("/infill", {"prompt": "x", "json_schema": SCHEMA}),
    ],
)
def test_it_arrives_on_every_route(server, path, body):
    said = {"messages": [{"role": "user", "content": "x"}], "input": "x", "inputs": "x"}
    assert server.post(path, json={**said, **body}).status_code == 200
    assert server.engine.requests[-1].grammar == JSON


def test_what_cannot_be_read_is_refused_before_all(server):
    server.engine.requests.clear()
    body = {"prompt": "x", "guided_regex": "("}
    error = server.post("/v1/completions", json=body).json()["error"]
    assert error["param"] == "guided_regex" and server.engine.requests == []
