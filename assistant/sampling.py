"""Sampling: the sampling parameters of one request, checked and bounded.

Knows ranges, not models: whether a request fits the window is window.py's, how a token is drawn
is engine/local/sampler.py's.
"""

import dataclasses
import secrets
from dataclasses import dataclass

from assistant.errors import SamplingError
from assistant.text import quoted

TEMPERATURE_MAX = 2.0
TEMPERATURE_MIN = 0.01  # below it the softmax overflows; values between 0 and this are raised to it
TOP_K_MAX = 1000
PENALTY_MIN, PENALTY_MAX = 0.5, 2.0
# From where to where each may be; top_p is above its first.
RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, TEMPERATURE_MAX),
    "top_p": (0, 1),
    "top_k": (0, TOP_K_MAX),
    "min_p": (0, 1),
    "repetition_penalty": (PENALTY_MIN, PENALTY_MAX),
}
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


def _whole(name: str, value: object, low: int, high: int) -> int:
    """`value` as an int in [low, high]; 40.0 passes, since sliders send floats."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SamplingError(f"{name} must be a whole number, not {quoted(value)}.", name)
    if not low <= value <= high:
        raise SamplingError(
            f"{name} must be from {low} to {high}; {quoted(value)} was given.", name
        )
    return value


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn.

    temperature: 0 is greedy, else 0.01 to 2. top_p: nucleus, above 0 up to 1. top_k: 0 is off, up
    to 1000. repetition_penalty: 0.5 to 2, 1 is off (CTRL, arXiv:1909.05858; counted from
    `Request.penalty_from` on). seed: 0 to 2**53 - 1; None draws a new one for each request.
    min_p: the least probability in relation to the likeliest token's, after temperature; 0, which
    is off, to 1 (arXiv:2407.01082).

    Raises SamplingError.
    """

    temperature: float = 0.2
    top_p: float = 0.95
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    min_p: float = 0.0

    def __post_init__(self) -> None:
        def put(name: str, value: float) -> None:
            object.__setattr__(self, name, value)

        def number(name: str, *, above: bool = False) -> float:
            return _number(name, getattr(self, name), *RANGES[name], above=above)

        temperature = number("temperature")
        put("temperature", max(temperature, TEMPERATURE_MIN) if temperature else 0.0)
        put("top_p", number("top_p", above=True))
        put("top_k", _whole("top_k", self.top_k, 0, TOP_K_MAX))
        put("min_p", number("min_p"))
        put("repetition_penalty", number("repetition_penalty"))
        if self.seed is not None:
            put("seed", _whole("seed", self.seed, 0, SEED_MAX))

    def seeded(self) -> "Sampling":
        """The same with a seed: the one given, or a new one at random."""
        if self.seed is not None:
            return self
        return dataclasses.replace(self, seed=secrets.randbelow(SEED_DRAWN))


def check_max_new_tokens(
    value: object, limit: int, least: int = 1, name: str = "max_new_tokens"
) -> int:
    """`value` as an int from `least` to `limit` (the model's window). name: what whoever sent it
    calls it. Raises SamplingError."""
    return _whole(name, value, least, limit)


def check_logprobs(count: object, name: str = "logprobs") -> int | None:
    """None, or an int from 1 to 20. Raises SamplingError."""
    return None if count is None else _whole(name, count, 1, LOGPROBS_MAX)


def check_stops(stops: object) -> tuple[str, ...]:
    """Stop strings of a request as a tuple without repeats. Raises SamplingError."""
    if stops is None:
        return ()
    if not isinstance(stops, (list, tuple)) or not all(isinstance(s, str) for s in stops):
        raise SamplingError("stop must be a list of strings.")
    if len(stops) > STOPS_MAX:
        raise SamplingError(
            f"At most {STOPS_MAX} stop strings are allowed; {len(stops)} were given."
        )
    for stop in stops:
        if not 1 <= len(stop) <= STOP_CHARS_MAX:
            raise SamplingError(
                f"A stop string must have 1 to {STOP_CHARS_MAX} characters; one has {len(stop)}."
            )
    return tuple(dict.fromkeys(stops))
