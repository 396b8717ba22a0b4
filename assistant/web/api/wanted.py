"""What the bodies of all APIs have in common: how tokens are chosen, and when a reply ends.

Knows keys and types; ranges are checked where the values are used. Of a list one item that is wrong
is enough: a body can hold half a million, and FastAPI has each of them described.
"""

import re
from dataclasses import fields, replace
from typing import Annotated, Any, TypeAlias, cast

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from assistant.engine.protocol import Engine
from assistant.errors import RequestError, SamplingError
from assistant.generation.ends import Ends
from assistant.sampling import SEED_MAX, STOPS_MAX, Sampling, check_max_new_tokens
from assistant.web.api.fields import refuse_unsupported
from assistant.web.api.grammars import FIELDS, read_grammar
from assistant.web.gate.security import Json


def _whole(value: object) -> object:
    """40.0 is 40: languages without whole numbers send it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole: TypeAlias = Annotated[int, BeforeValidator(_whole)]
Ids: TypeAlias = Annotated[list[int], Field(fail_fast=True)]
Texts: TypeAlias = Annotated[list[str], Field(fail_fast=True)]

COUNTED = {"repeat_last_n": "repetition_penalty", "dry_penalty_last_n": "dry_multiplier"}
OFF = {"repetition_penalty": 1.0, "dry_multiplier": 0.0}
BAN = -100.0  # the least bias, as which llama.cpp's clients send false


def read_seed(seed: int | None) -> int | None:
    """-1 is none, as elsewhere; a seed of 64 bits is folded into those that are known here."""
    return None if seed is None or seed == -1 else seed % (SEED_MAX + 1)


def read_limit(name: str, limit: int | None, window: int, least: int = 1) -> int | None:
    """A limit on new tokens: -1 is none, and what no window holds is cut to it. Raises
    SamplingError, which names what the client sent."""
    if limit is None or limit == -1:
        return None
    return check_max_new_tokens(min(limit, window), window, least, name)


class Wanted(BaseModel):
    """Raises RequestError for a field that fields.REFUSED names."""

    model_config = ConfigDict(strict=True)

    temperature: float | None = None
    top_p: float | None = None
    top_k: Whole | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    repeat_penalty: float | None = None  # llama.cpp's name for it
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Json | list[Any] | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: Whole | None = None
    dry_sequence_breakers: Texts | pydantic.Json[Texts] | None = None  # as text by SillyTavern
    # Of how many tokens the penalties count: all, -1, or none, 0
    repeat_last_n: Whole | None = None
    dry_penalty_last_n: Whole | None = None
    seed: Whole | None = None

    stop: str | Texts | None = None
    stop_token_ids: Ids | None = None
    min_tokens: Whole | None = None
    ignore_eos: bool | None = None

    # What it must match: see grammars.py
    response_format: Json | None = None
    structured_outputs: Json | None = None
    guided_json: Json | str | None = None
    guided_regex: str | None = None
    guided_choice: list[Any] | None = None
    guided_grammar: str | None = None
    json_schema: Json | str | None = None
    grammar: Json | str | None = None

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, values: Any) -> Any:
        refuse_unsupported(values, cls.model_fields)
        return values

    def sampling(self, default: Sampling) -> Sampling:
        """What was not given is as in `default`. Raises SamplingError."""
        given = {field.name: getattr(self, field.name) for field in fields(Sampling)}
        given["seed"] = read_seed(self.seed)
        if self.logit_bias is not None:
            given["logit_bias"] = read_bias(self.logit_bias)
        if self.top_k == -1:  # how some clients switch it off
            given["top_k"] = 0
        if self.repetition_penalty is None:
            given["repetition_penalty"] = self.repeat_penalty
        for name, counted in COUNTED.items():
            last = getattr(self, name)
            if name == "repeat_last_n" and self.repetition_penalty is not None:
                continue  # it is about llama.cpp's own key alone
            if last == 0:
                given[counted] = OFF[counted]
            elif last not in (None, -1) and given[counted] not in (None, OFF[counted]):
                raise RequestError(f"{name} must be -1 or 0 beside {counted}: all counts.", name)
        try:
            return replace(default, **{name: v for name, v in given.items() if v is not None})
        except SamplingError as error:
            name, sent = "repetition_penalty", "repeat_penalty"
            if error.param != name or self.repetition_penalty is not None:
                raise
            raise SamplingError(str(error).replace(name, sent), sent) from None

    def ending(self, engine: Engine) -> Json:
        """When the reply ends, as keywords of complete(), fill() and Assistant.reply(). Raises
        RequestError."""
        name, least = "min_tokens", self.min_tokens or 0
        least = check_max_new_tokens(least, engine.window, 0, name)
        ids, size = tuple(self.stop_token_ids or ()), len(engine.tokenizer)
        if len(ids) > STOPS_MAX or not all(0 <= token < size for token in ids):
            name = "stop_token_ids"
            sentence = f"{name} must be at most {STOPS_MAX} token ids from 0 to {size - 1}."
            raise RequestError(sentence, name)
        grammar = read_grammar(self.formats)
        ends = Ends(least, ids, bool(self.ignore_eos), grammar)
        return {"stop": self.stops, "ends": ends}

    @property
    def formats(self) -> Json:
        """What the reply must match, by the key that says so."""
        return {name: getattr(self, name) for name in FIELDS}

    @property
    def stops(self) -> list[str] | None:
        return [self.stop] if isinstance(self.stop, str) else self.stop


def read_bias(bias: Json | list[Any]) -> tuple[tuple[int, float], ...]:
    """(token id, bias) of OpenAI's form, whose keys are ids as text, or of llama.cpp's pairs, in
    which false bans the token. Raises RequestError."""
    pairs = bias.items() if isinstance(bias, dict) else bias
    try:
        return tuple((_token(token), _bias(value)) for token, value in pairs)
    except (TypeError, ValueError):
        sentence = "logit_bias must give a number to token ids, which are whole numbers."
        raise RequestError(sentence, "logit_bias") from None


def _bias(given: object) -> float:
    """Raises ValueError."""
    if given is False:
        return BAN
    if type(given) not in (int, float):
        raise ValueError("not a number")
    return cast(float, given)


def _token(given: object) -> int:
    """A token id, as text too. Raises ValueError."""
    if isinstance(given, str) and re.fullmatch(r"-?\d{1,10}", given, re.A):
        return int(given)
    if type(given) is not int:
        raise ValueError("not an id")
    return given
