"""What hangs on a reply's own text: grammars, DRY, the least number of tokens, in the engine."""

import dataclasses
import json
import re

import pytest

from assistant import grammar
from assistant.engine.protocol import Request
from assistant.errors import EngineError, GrammarError
from assistant.sampling import Sampling
from tests.support.checkpoints import VOCAB_SIZE
from tests.support.engines import greedy, make_engine, read

PROMPT = tuple(range(30, 60))
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        "ok": {"type": "boolean"},
    },
    "required": ["name", "tags", "ok"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=["at once", "a step late"])
def engine(request, tiny_checkpoint):
    """a step late: as on a card, where a step is launched before the last one was read."""
    engine = make_engine(tiny_checkpoint, slots=4)
    engine._scheduler.decode_step.late = request.param == "a step late"
    yield engine
    engine.close()


def asked(matching, **options):
    sampling = Sampling(temperature=1.0, top_p=1, **{"seed": 3, **options})
    ends = frozenset({0})
    return Request(PROMPT, sampling, 150, stop_ids=ends, grammar=matching)


@pytest.mark.parametrize(
    ("matching", "fits"),
    [
        (
            grammar.json_schema(SCHEMA),
            lambda text: json.loads(text).keys() == {"name", "tags", "ok"},
        ),
        (grammar.choice(["yes", "no (or so)"]), lambda text: text in ("yes", "no (or so)")),
        (grammar.regex(r"[a-c]{3,6}-\d{2}"), lambda text: re.fullmatch(r"[a-c]{3,6}-\d{2}", text)),
        (grammar.lark('start: "x" "y"+ "z"'), lambda text: re.fullmatch("xy+z", text)),
    ],
)
def test_a_reply_matches_what_it_must(engine, matching, fits):
    for seed in range(6):
        text, _, finished = read(engine.generate(asked(matching, seed=seed)))
        assert finished.reason == "stop" and fits(text), text


def test_an_object_of_any_kind_is_json_or_says_that_it_was_cut(engine):
    text, _, finished = read(engine.generate(asked(grammar.json_object())))
    assert text.startswith("{")
    assert finished.reason == "length" or isinstance(json.loads(text), dict)


def test_a_row_beside_it_says_what_it_says_alone(engine):
    plain = Request(PROMPT, Sampling(temperature=0.9, seed=5), 40)
    alone = read(engine.generate(plain))[1]
    matching = [asked(grammar.json_schema(SCHEMA), seed=seed) for seed in range(2)]
    streams = [engine.generate(request) for request in (*matching, plain, *matching)]
    texts = [read(stream) for stream in streams]
    assert texts[2][1] == alone
    assert [texts[n][0] for n in (0, 1)] == [texts[n][0] for n in (3, 4)]


def test_dry_ends_a_loop(engine):
    others = frozenset(range(VOCAB_SIZE)) - {20, 21, 22}  # so few that it comes back soon
    once, often = (
        read(
            engine.generate(
                Request(PROMPT, Sampling(temperature=0, **options), 60, banned_ids=others)
            )
        )[1]
        for options in ({}, {"dry_multiplier": 5.0})
    )

    def repeats(ids):
        return len(ids) - len({tuple(ids[n : n + 4]) for n in range(len(ids))})

    assert repeats(often) < repeats(once)


def test_nothing_ends_a_reply_before_its_least_number_of_tokens(engine):
    ids = read(engine.generate(greedy(PROMPT, 40)))[1]
    first = frozenset({ids[0]})
    assert read(engine.generate(greedy(PROMPT, 40, stop_ids=first)))[1] == []
    for least in (1, 7):
        request = greedy(PROMPT, 40, stop_ids=first, min_new_tokens=least)
        found = read(engine.generate(request))[1]
        assert len(found) >= least and ids[0] not in found


def test_a_reply_that_cannot_go_on_ends_alone(engine, monkeypatch):
    monkeypatch.setattr("assistant.engine.local.guide.Matches.allowed", too_large)
    with pytest.raises(EngineError, match="too large to follow"):
        read(engine.generate(asked(grammar.json_object())))
    monkeypatch.undo()
    assert read(engine.generate(greedy(PROMPT, 5)))[2].reason == "length"


def test_what_no_token_may_match_is_refused_before_it_begins(engine):
    begins = dataclasses.replace(
        asked(grammar.regex("a|b")), banned_ids=frozenset(range(VOCAB_SIZE)) - {0, 20}
    )
    with pytest.raises(GrammarError, match="may not be written here"):
        engine.generate(begins)


@pytest.mark.parametrize("pattern", ["(((a{1000}){1000}){1000})", "(a{65000}){65000}"])
def test_an_expression_that_is_too_large_to_follow_ends_its_own_reply(engine, pattern):
    with pytest.raises((EngineError, GrammarError), match="too large to follow"):
        read(engine.generate(asked(grammar.regex(pattern))))
    assert read(engine.generate(greedy(PROMPT, 5)))[2].reason == "length"
    assert read(engine.generate(greedy(PROMPT, 5)))[2].reason == "length"


def too_large(matches):
    raise EngineError("What the reply must match became too large to follow.")


@pytest.mark.parametrize(
    ("make", "given", "words"),
    [
        (grammar.json_schema, 5, "must be an object"),
        (grammar.json_schema, "[", "not JSON"),
        (grammar.json_schema, {"title": "\ud800"}, "not JSON"),
        (grammar.regex, "\ud800", "half of a character"),
        (grammar.choice, ["a", "\ud800"], "half of a character"),
        (grammar.choice, ["x" * 30_000] * 2, "A choice may have at most 50,000"),
        (grammar.json_schema, {"type": "objekt"}, "objekt"),
        (grammar.json_schema, {"not": {}}, "not"),
        (grammar.json_schema, {"$ref": "http://host.invalid/a"}, "cannot be read"),
        (grammar.json_schema, {"enum": ["x" * 50_000]}, "at most 50,000 characters"),
        (grammar.regex, "(", "unclosed group"),
        (grammar.regex, "", "must be text"),
        (grammar.choice, [], "not empty"),
        (grammar.choice, ["a", 1], "not empty"),
        (grammar.choice, ["a"] * 1001, "at most 1000"),
        (grammar.lark, "start: x", "unknown name"),
        (grammar.lark, "start: " + "(" * 900 + '"a"' + ")" * 900, "too deeply nested"),
    ],
)
def test_what_cannot_be_matched_is_refused_in_a_sentence(make, given, words):
    with pytest.raises(GrammarError, match=words) as caught:
        make(given)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)
