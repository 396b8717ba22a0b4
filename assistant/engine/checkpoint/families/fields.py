"""Fields: the keys of a config.json, each checked as it is read."""

import sys
from collections.abc import Mapping
from typing import Any

from assistant.engine.model.config import Activation
from assistant.text import quoted

SIZE_MAX = 1 << 40  # of any size; beyond it what a model takes cannot be reckoned
LAYERS_MAX = 1_000  # each has a dozen names; the deepest model that is known has 126 layers
HEAD_MAX = 4_096  # numbers of a head, of which half are frequencies; the widest known has 512
# Of transformers' names; the exact GELU at StarCoder's 15 B and 7 B, its approximation by tanh
# (Hendrycks and Gimpel, arXiv:1606.08415) at smaller ones.
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}


class NotSupported(ValueError):
    """A value that is right but not for here; the message continues "NAME has "."""


class Fields:
    """`raw` by the names that a family gives. read: those that were asked for.

    A method's `names` are those of one key, which must agree where several are there; one
    that is null is not there. default: None where the key must be there. Raises ValueError for
    a value of another type or out of range.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self.read: set[str] = set()

    def value(self, *names: str) -> Any:
        self.read.update(names)
        given = [name for name in names if self._raw.get(name) is not None]
        first = self._raw[given[0]] if given else None
        for name in given[1:]:
            if self._raw[name] != first:
                other = quoted(self._raw[name])
                raise ValueError(f"{given[0]} is {quoted(first)}, and {name} is {other}")
        return first

    def size(self, *names: str, default: int | None = None, most: int = SIZE_MAX) -> int:
        """A whole number from 1 to `most`."""
        value = self._or_default(names, default)
        if type(value) is not int:
            raise ValueError(f"{names[0]} is {quoted(value)}")
        if value < 1:
            raise ValueError(f"{names[0]} is {quoted(value)}, and must be above 0")
        if value > most:
            raise ValueError(f"{names[0]} is {quoted(value)}, and may be at most {most}")
        return value

    def number(self, *names: str, default: float | None = None) -> float:
        """Above 0 and finite."""
        value = self._or_default(names, default)
        if type(value) not in (int, float):
            raise ValueError(f"{names[0]} is {quoted(value)}")
        if not 0 < value <= sys.float_info.max:
            raise ValueError(f"{names[0]} is {quoted(value)}, and must be above 0 and finite")
        return float(value)

    def switch(self, name: str, default: bool) -> bool:
        value = self._or_default((name,), default)
        if type(value) is not bool:
            raise ValueError(f"{name} is {quoted(value)}")
        return value

    def activation(self, name: str, default: str) -> Activation:
        value = self._or_default((name,), default)
        known = ACTIVATIONS.get(value) if isinstance(value, str) else None
        if known is None:
            raise NotSupported(
                f"the activation function {quoted(value)}; only {', '.join(ACTIVATIONS)} are "
                "supported"
            )
        return known

    def must_be(self, name: str, *allowed: object) -> None:
        """Refuse any other value than `allowed`, of which the first is the default."""
        value = self._or_default((name,), allowed[0])
        if not any(value == one and type(value) is type(one) for one in allowed):
            raise NotSupported(f"{name} {quoted(value)}, which is not supported")

    def _or_default(self, names: tuple[str, ...], default: object) -> Any:
        value = self.value(*names)
        value = default if value is None else value
        if value is None:
            raise ValueError(f"{names[0]} is missing")
        return value
