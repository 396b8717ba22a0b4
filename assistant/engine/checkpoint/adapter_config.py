"""What the adapter_config.json of a LoRA says: rank and scale of each part, and what is refused.

As peft understands it (0.21). Knows names of modules; no tensors.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from assistant.engine.checkpoint.families.fields import Fields, NotSupported
from assistant.text import quoted

PATTERNS_MAX = 1_024  # of each list; the largest models have about as many modules
PATTERN_CHARS_MAX = 200
# Keys that no reply depends on: where it came from, how it was trained and began, and which modules
# it was made for, which its tensors say themselves.
IGNORED = {
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "fan_in_fan_out",  # which kind of layer the model's files hold is known of its family
    "inference_mode",
    "layers_pattern",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
}
# Of the ways to begin a training, those that leave the model's own weights alone. After others
# (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) an adapter belongs to weights that no file has.
_STARTS = (True, False, "gaussian", "eva", "orthogonal", "mica")

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """rank, scale: of the part for the module of that name. saved: names of the modules that are
    replaced as a whole. targets: whether the adapter has a part for a module in this layer, None
    outside of the layers."""

    rank: Callable[[str], int]
    scale: Callable[[str], float]
    saved: tuple[str, ...]
    targets: Callable[[str, int | None], bool]


def parse_adapter(raw: Mapping[str, Any], rank_max: int, layers: int) -> AdapterConfig:
    """Raises ValueError for keys that are wrong, and NotSupported for what cannot be merged."""
    fields = Fields(raw)
    fields.must_be("peft_type", "LORA")
    fields.must_be("bias", "none")
    fields.must_be("init_lora_weights", *_STARTS)
    rank, alpha = fields.size("r", default=8), fields.number("lora_alpha", default=8)
    ranks = _patterns(fields, "rank_pattern", Fields.size)
    alphas = _patterns(fields, "alpha_pattern", Fields.number)
    stable = fields.switch("use_rslora", False)
    saved = _names(fields, "modules_to_save")
    # A text is a regular expression, which is not run, or stands for all linear layers
    targets = fields.value("target_modules")
    named = None if isinstance(targets, str | None) else {*_names(fields, "target_modules")}
    avoided = fields.value("exclude_modules")
    excluded = {*(() if isinstance(avoided, str) else _names(fields, "exclude_modules"))}
    numbers = _numbers(fields, layers)
    for key, value in raw.items():
        used = value is not None and value is not False and value not in ("", [], {})
        if used and key not in fields.read | IGNORED:
            raise NotSupported(f"{quoted(key)} {quoted(value)}, which is not supported")
    for each in (rank, *ranks.values()):
        if each > rank_max:
            raise NotSupported(f"the rank {quoted(each)}, and the model's width is {rank_max:,}")

    @cache
    def rank_of(module: str) -> int:
        return _match(ranks, module, rank)

    def scale_of(module: str) -> float:
        # LoRA, arXiv:2106.09685, section 4.1; rank-stabilised, arXiv:2312.03732
        own = rank_of(module)
        return _match(alphas, module, alpha) / (math.sqrt(own) if stable else own)

    def is_target(module: str, layer: int | None) -> bool:
        parts = module.split(".")
        ends = {".".join(parts[at:]) for at in range(len(parts))}
        if ends & excluded or any(f".{name}." in f".{module}." for name in saved):
            return False
        if named is not None and not ends & named:
            return False
        return numbers is None or layer in numbers or module in (named or ())

    return AdapterConfig(rank_of, scale_of, saved, is_target)


def _patterns(
    fields: Fields, key: str, check: Callable[[Fields, str], Number]
) -> dict[re.Pattern[str], Number]:
    """Regular expressions of the ends of modules' names, to values."""
    found = fields.value(key) or {}
    if not isinstance(found, dict) or len(found) > PATTERNS_MAX:
        raise ValueError(f"{key} is {quoted(found)}, and must be at most {PATTERNS_MAX:,} names")
    return {
        _pattern(key, name): check(Fields({quoted(name): value}), quoted(name))
        for name, value in found.items()
    }


def _pattern(key: str, name: str) -> re.Pattern[str]:
    # Without groups and with one repetition, none can take long for a name.
    repeated, grouped = sum(map(name.count, "*+?{")), "(" in name or "[" in name
    if len(name) > PATTERN_CHARS_MAX or grouped or repeated > 1:
        raise NotSupported(f"the {key} {quoted(name)}, which is not supported")
    try:
        return re.compile(rf"(?:.*\.)?(?:{name})$")
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{key} has {quoted(name)}, which is no pattern") from error


def _match(patterns: Mapping[re.Pattern[str], Number], module: str, default: Number) -> Number:
    """The value of the first pattern that fits."""
    return next((v for pattern, v in patterns.items() if pattern.match(module)), default)


def _names(fields: Fields, key: str) -> tuple[str, ...]:
    found = fields.value(key)
    found = [] if found is None else found
    names = isinstance(found, list) and all(isinstance(name, str) and name for name in found)
    if not names or len(found) > PATTERNS_MAX:
        raise ValueError(
            f"{key} is {quoted(found)}, and must be a list of at most {PATTERNS_MAX:,} names"
        )
    return tuple(found)


def _numbers(fields: Fields, layers: int) -> set[int] | None:
    """layers_to_transform; None for all."""
    found = fields.value("layers_to_transform")
    numbers = found if isinstance(found, list) else [] if found is None else [found]
    if len(numbers) > PATTERNS_MAX:
        raise ValueError(f"layers_to_transform has {len(numbers):,} numbers, too many")
    for number in numbers:
        if type(number) is not int or not 0 <= number < layers:
            raise NotSupported(
                f"{quoted(number)} in layers_to_transform, and the model has the layers 0 to "
                f"{layers - 1}"
            )
    return set(numbers) or None
