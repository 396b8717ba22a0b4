"""Sampling: the sampling parameters of one request, checked and bounded.

Knows ranges, not models: whether a request fits the window is window.py's, how a token is drawn
is engine/local/sampler.py's.
"""

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from assistant.errors import SamplingError
from assistant.text import quoted

TEMPERATURE_MAX = 2.0
TEMPERATURE_MIN = 0.01  # below it the softmax overflows; values between 0 and this are raised to it
TOP_K_MAX = 1000
PENALTY_MIN, PENALTY_MAX = 0.5, 2.0
DRY_LENGTH_MAX = 50  # tokens of a repeat that are looked at: a penalty beyond all logits
# From where to where each may be
RANGES: dict[str, tuple[int, int] | tuple[float, float]] = {
    "temperature": (0, TEMPERATURE_MAX),
    "top_p": (0, 1),
    "top_k": (0, TOP_K_MAX),
    "min_p": (0, 1),
    "repetition_penalty": (PENALTY_MIN, PENALTY_MAX),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "typical_p": (0, 1),
    "dry_multiplier": (0, 10),
    "dry_base": (1, 4),
    "dry_allowed_length": (1, DRY_LENGTH_MAX),
}
WHOLE = ("top_k", "dry_allowed_length")
NUMBERS = (*RANGES, "seed")
ABOVE = ("top_p", "typical_p")  # are above the first of theirs: nothing could be drawn at it
BREAKERS_MAX = 32
BIAS_MAX = 100.0
BIASES_MAX = 1024  # OpenAI's own limit is 300
SEED_MAX = 2**53 - 1  # the largest whole number that a browser holds exactly
SEED_DRAWN = 2**31  # below it those drawn here: short enough to be copied by hand
LOGPROBS_MAX = 20
STOPS_MAX = 64  # clients of code models send a dozen; each is looked for in all text
STOP_CHARS_MAX = 256


def _number(name: str, value: object, low: float, high: float, *, above: bool = False) -> float:
    """`value` as a finite float in [low, high], or in (low, high] with `above`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SamplingError(f"{name} must be a number, not {quoted(value)}.", name)
    if not low <= value <= high or (above and value == low):  # NaN is in no range
        bounds = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
        raise SamplingError(f"{name} must be {bounds}; {quoted(value)} was given.", name)
    return float(value)


def _whole(name: str, value: object, low: int, high: int, param: str | None = None) -> int:
    """`value` as an int in [low, high]; 40.0 passes, since sliders send floats. param: where it is
    not `name`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SamplingError(f"{name} must be a whole number, not {quoted(value)}.", param or name)
    if not low <= value <= high:
        raise SamplingError(
            f"{name} must be from {low} to {high}; {quoted(value)} was given.", param or name
        )
    return value


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn.

    temperature: 0 is greedy, else 0.01 to 2. top_p: nucleus, above 0 up to 1. top_k: 0 is off, up
    to 1000. repetition_penalty: 0.5 to 2, 1 is off (CTRL, arXiv:1909.05858; counted from
    `Request.penalty_from` on). seed: 0 to 2**53 - 1; None draws a new one for each request.
    min_p: the least probability in relation to the likeliest token's, after temperature; 0, which
    is off, to 1 (arXiv:2407.01082). typical_p: the mass of the tokens that are kept because they
    are about as likely as was to be expected, above 0 to 1, which is off (arXiv:2202.00666).

    presence_penalty, frequency_penalty: -2 to 2, 0 is off: what is taken off the logit of a token
    that the reply has, once, and once for each time (as in OpenAI's API, whose documentation gives
    the formula). logit_bias: (token id, -100 to 100) pairs, added to logits; at most 1,024.

    dry_multiplier: 0 to 10, 0 is off: a token that would go on with a repeat of n tokens, at least
    dry_allowed_length (1 to 50), loses multiplier x dry_base ** (n - allowed length). dry_base: 1
    to 4. dry_sequence_breakers: strings; no repeat goes across a token that holds one. Of a prompt
    what stands behind `Request.penalty_from` counts (DRY, by its author's description:
    github.com/oobabooga/text-generation-webui/pull/5677).

    Raises SamplingError.
    """

    temperature: float = 0.2
    top_p: float = 0.95
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    typical_p: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")  # the author's own

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        for name, bounds in RANGES.items():
            value = getattr(self, name)
            if name in WHOLE:
                put(name, _whole(name, value, *bounds))
            else:
                put(name, _number(name, value, *bounds, above=name in ABOVE))
        if self.temperature:
            put("temperature", max(self.temperature, TEMPERATURE_MIN))
        put("dry_sequence_breakers", _breakers(self.dry_sequence_breakers))
        put("logit_bias", _biases(self.logit_bias))
        if self.seed is not None:
            put("seed", _whole("seed", self.seed, 0, SEED_MAX))

    @property
    def penalised(self) -> bool:
        """Whether the logits depend on what the text has already."""
        off = self.repetition_penalty == 1 and not self.presence_penalty
        return not off or self.frequency_penalty != 0

    @property
    def used(self) -> tuple[str, ...]:
        """The names of those that not every server has, as far as they are not off."""
        return tuple(name for name, off in OFF.items() if getattr(self, name) != off)

    def seeded(self) -> "Sampling":
        """The same with a seed: the one given, or a new one at random."""
        if self.seed is not None:
            return self
        return dataclasses.replace(self, seed=secrets.randbelow(SEED_DRAWN))


# What switches off those that came last
OFF: dict[str, object] = {
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "typical_p": 1,
    "logit_bias": (),
    "dry_multiplier": 0,
}


def _breakers(given: object) -> tuple[str, ...]:
    name = "dry_sequence_breakers"
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, str) for one in given):
        raise SamplingError(f"{name} must be a list of strings.", name)
    if len(given) > BREAKERS_MAX:
        raise SamplingError(
            f"{name} may have at most {BREAKERS_MAX} strings; it has {len(given)}.", name
        )
    wrong = next((one for one in given if not 1 <= len(one) <= STOP_CHARS_MAX), None)
    if wrong is not None:
        raise SamplingError(
            f"A string of {name} must have 1 to {STOP_CHARS_MAX} characters; one has {len(wrong)}.",
            name,
        )
    return tuple(dict.fromkeys(given))


def _biases(given: object) -> tuple[tuple[int, float], ...]:
    """In the order of the ids."""
    name = "logit_bias"
    pairs = given.items() if isinstance(given, Mapping) else given
    try:
        found = list(pairs)  # type: ignore[call-overload]
        ids = [_whole(f"A token id of {name}", token, 0, 2**31, name) for token, _ in found]
    except (TypeError, ValueError):
        raise SamplingError(f"{name} must give a number for each token id.", name) from None
    if len(ids) > BIASES_MAX:
        raise SamplingError(
            f"{name} may have at most {BIASES_MAX} tokens; it has {len(ids)}.", name
        )
    values = [_number(name, value, -BIAS_MAX, BIAS_MAX) for _, value in found]
    return tuple(sorted(dict(zip(ids, values, strict=True)).items()))


def check_max_new_tokens(
    value: object, limit: int, least: int = 1, name: str = "max_new_tokens"
) -> int:
    """`value` as an int from `least` to `limit` (the model's window). name: what whoever sent it
    calls it. Raises SamplingError."""
    return _whole(name, value, least, limit)


def check_logprobs(count: object, name: str = "logprobs", least: int = 1) -> int | None:
    """None, or an int from `least` to 20. Raises SamplingError."""
    return None if count is None else _whole(name, count, least, LOGPROBS_MAX)


def check_stops(stops: object) -> tuple[str, ...]:
    """Stop strings of a request as a tuple without repeats. Raises SamplingError."""
    if stops is None:
        return ()
    if not isinstance(stops, (list, tuple)) or not all(isinstance(s, str) for s in stops):
        raise SamplingError("stop must be a list of strings.", "stop")
    if len(stops) > STOPS_MAX:
        raise SamplingError(
            f"At most {STOPS_MAX} stop strings are allowed; {len(stops)} were given.", "stop"
        )
    for stop in stops:
        if not 1 <= len(stop) <= STOP_CHARS_MAX:
            raise SamplingError(
                f"A stop string must have 1 to {STOP_CHARS_MAX} characters; one has {len(stop)}.",
                "stop",
            )
    return tuple(dict.fromkeys(stops))
