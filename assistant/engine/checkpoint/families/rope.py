"""Rotary positions as a config.json describes them: the frequencies, stretched as it says.

The kinds of stretching whose frequencies depend on nothing but the config, with the names that
transformers gives them; what changes with the length of a text is refused.
"""

import math

import torch

from assistant.engine.checkpoint.families.fields import Fields, NotSupported
from assistant.engine.model.config import Rope
from assistant.text import quoted

_NOT_FINITE = "its rotary positions have frequencies that are not finite"


def read_rope(fields: Fields, head_dim: int, positions: int, theta: float = 10_000.0) -> Rope:
    """theta: the base where the config names none, transformers' own for this family."""
    given = fields.value("rope_parameters") or fields.value("rope_scaling") or {}
    if not isinstance(given, dict):
        raise ValueError(f"rope_parameters is {quoted(given)}")
    inner = Fields(given)
    base = inner.number("rope_theta", default=fields.number("rope_theta", default=theta))
    kind = inner.value("rope_type", "type") or "default"
    for place in (fields, inner):
        if place.number("partial_rotary_factor", default=1) != 1:
            raise NotSupported("rotary positions in a part of its heads, which is not supported")
    if head_dim % 2:
        raise ValueError(f"the size of a head, {head_dim}, is odd")
    plain = 1 / base ** (torch.arange(0, head_dim, 2).float() / head_dim)
    original = "original_max_position_embeddings"
    first = fields.size(original, default=inner.size(original, default=positions))
    if kind == "default":
        frequencies, factor = plain, 1.0
    elif kind == "linear":
        frequencies, factor = plain / inner.number("factor"), 1.0
    elif kind == "llama3":
        frequencies, factor = _llama3(plain, inner, first), 1.0
    elif kind == "yarn":
        frequencies, factor = _yarn(plain, inner, first, positions, base)
    else:
        raise NotSupported(
            f"the scaling {quoted(kind)} of rotary positions; only linear, llama3 and yarn are "
            "supported"
        )
    if not torch.tensor([*frequencies.tolist(), factor]).isfinite().all():
        raise ValueError(_NOT_FINITE)
    return Rope(tuple(frequencies.tolist()), factor)


def _llama3(plain: torch.Tensor, fields: Fields, first: int) -> torch.Tensor:
    """Long waves are stretched by the factor, short ones are not, those between in part (Llama 3.1,
    arXiv:2407.21783)."""
    low, high = fields.number("low_freq_factor"), fields.number("high_freq_factor")
    if low >= high:
        raise ValueError(f"low_freq_factor is {low:g}, and must be below high_freq_factor")
    turns = first * plain / (2 * math.pi)  # of each pair in the window of its first training
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return plain * (kept + (1 - kept) / fields.number("factor"))


def _yarn(
    plain: torch.Tensor, fields: Fields, first: int, positions: int, base: float
) -> tuple[torch.Tensor, float]:
    """The same by the number of a pair, and sharper attention (YaRN, arXiv:2309.00071, 3.2 and
    3.4)."""
    factor = fields.number("factor", default=positions / first)
    pairs = len(plain)

    def pair_of(turns: float) -> float:
        return pairs * math.log(first / turns / (2 * math.pi)) / math.log(base)

    if base <= 1:
        raise ValueError(f"rope_theta is {base:g}, and must be above 1")
    low = pair_of(fields.number("beta_fast", default=32))
    high = pair_of(fields.number("beta_slow", default=1))
    if not math.isfinite(low - high):
        raise ValueError(_NOT_FINITE)
    if fields.switch("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * pairs - 1)
    stretched = ((torch.arange(pairs) - low) / (high - low or 0.001)).clamp(0, 1)

    def sharper(share: float) -> float:
        return 0.1 * share * math.log(factor) + 1 if factor > 1 else 1.0

    ways = fields.value("mscale"), fields.value("mscale_all_dim")
    if all(ways):
        usual = sharper(fields.number("mscale")) / sharper(fields.number("mscale_all_dim"))
    else:
        usual = sharper(1)
    attention = fields.number("attention_factor", default=usual)
    return plain * (1 - stretched + stretched / factor), attention
