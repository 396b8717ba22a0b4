"""What a server's events have in common, read with care.

A field that is missing or of another type raises KeyError, TypeError or ValueError, which the
caller takes for garbage. Knows JSON values; no kinds of servers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assistant.engine.protocol import Logprob
from assistant.text import replace_surrogates


@dataclass(slots=True)
class Event:
    """What is new in a reply. ids: its tokens, None where the server gives none; logprobs: one for
    each. reason: "stop", "length" or "abort" at the end; stop_id: the token that ended it, where it
    is known. new_tokens, cached_tokens: counts, where the server tells them."""

    text: str = ""
    ids: tuple[int, ...] | None = None
    logprobs: tuple[Logprob, ...] | None = None
    reason: str | None = None
    stop_id: int | None = None
    new_tokens: int | None = None
    cached_tokens: int = 0


def openai_logprobs(value: Mapping[str, Any]) -> tuple[Logprob, ...]:
    """Logprobs of the parallel lists of OpenAI's completions, whose tokens are "token_id:7". Where
    nothing stands before a token, its log-probability is 0 and means nothing."""
    found = []
    for logprob, places in zip(value["token_logprobs"], value["top_logprobs"], strict=True):
        top = [(token_id(text), finite(known)) for text, known in (places or {}).items()]
        top.sort(key=lambda pair: -pair[1])
        found.append(Logprob(0.0 if logprob is None else finite(logprob), tuple(top)))
    return tuple(found)


def vllm_logprob(token: int, place: Mapping[str, Any]) -> Logprob:
    """place: {"7": {"logprob", ...}, ...} of the likeliest tokens and of `token` itself."""
    known = {int(key): finite(entry["logprob"]) for key, entry in place.items()}
    top = sorted(known.items(), key=lambda pair: -pair[1])
    return Logprob(known[token], tuple(top))


def token_id(text: str) -> int:
    name, _, number = text.rpartition(":")
    if name != "token_id" or not number.isdecimal():
        raise ValueError("no token's id")
    return int(number)


def text(value: str) -> str:
    """Text that may be sent on: JSON can spell half a surrogate pair."""
    return replace_surrogates(value)


def finite(value: float) -> float:
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("no log-probability")
    return float(value)


def count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError("no count")
    return value
