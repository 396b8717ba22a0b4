"""Replies under JSON schemas, by the embedded model at temperature 1: what ends validates."""

import json
import random

import jsonschema_rs
import pytest

from assistant.engine.open import open_engine
from assistant.engine.protocol import Request
from assistant.grammar import json_schema
from assistant.sampling import Sampling
from assistant.settings import Settings
from tests.support.reading import read

pytestmark = pytest.mark.soak

SCHEMAS, FINISHED, TOKENS = 100, 90, 600


def schema(chance, depth=2):
    """A random one, its strings, lists and numbers bounded."""
    kinds = ["string", "integer", "number", "boolean", "enum", "null"]
    match chance.choice([*kinds, "array", "object"] if depth else kinds):
        case "string":
            least = chance.randrange(4)
            return {"type": "string", "minLength": least, "maxLength": least + chance.randrange(20)}
        case "integer":
            return {"type": "integer", "minimum": -50, "maximum": chance.randrange(1000)}
        case "number":  # without a step its digits have no end, and a small model writes on
            return {"type": "number", "minimum": 0, "maximum": 1000, "multipleOf": 0.25}
        case "enum":
            return {"enum": chance.sample(["red", "green", 3, None, True, "a b", "\u00e9"], 3)}
        case "array":
            items = schema(chance, depth - 1)
            return {"type": "array", "items": items, "maxItems": chance.randrange(1, 5)}
        case "object":
            names = chance.sample(["name", "size", "tags", "is_open", "note", "x"], 3)
            return {
                "type": "object",
                "properties": {name: schema(chance, depth - 1) for name in names},
                "required": names[: chance.randrange(1, 4)],
                "additionalProperties": False,
            }
        case kind:
            return {"type": kind}


@pytest.mark.timeout(1200)
def test_what_ends_validates_and_most_end():
    schemas = [schema(random.Random(number)) for number in range(SCHEMAS)]
    engine = open_engine(Settings(threads=2))
    prompt = tuple(engine.tokenizer.encode("Human: Give me some JSON.\n\nAssistant:"))
    ends = frozenset({engine.tokenizer.eos_id})
    requests = [
        Request(
            prompt,
            Sampling(temperature=1.0, top_p=1, seed=number),
            TOKENS,
            ends,
            grammar=json_schema(given),
        )
        for number, given in enumerate(schemas)
    ]
    replies = [read(engine.generate(request)) for request in requests[:50]]
    replies += [read(stream) for stream in [engine.generate(request) for request in requests[50:]]]
    engine.close()
    whole = 0
    for given, (text, _, finished) in zip(schemas, replies, strict=True):
        if finished.reason == "stop":
            assert jsonschema_rs.validator_for(given).is_valid(json.loads(text)), (given, text)
            whole += 1
        else:
            assert finished.reason == "length" and finished.new_tokens == TOKENS
    print(f"{whole} of {SCHEMAS} ended, and validate")
    assert whole >= FINISHED
