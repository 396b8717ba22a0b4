"""Rotary positions: queries and keys turned by angles that grow with their position.

Each head's numbers are pairs (n, n + head_dim / 2), as transformers keeps them (RoFormer,
arXiv:2104.09864, pairs neighbours instead). Knows positions and frequencies; no layers.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from assistant.engine.model.config import Rope


class Turn(NamedTuple):
    """What `turned` multiplies with, for some rows. Both [rows, 1, head_dim]; the sines of the
    first half are negative."""

    cos: Tensor
    sin: Tensor


class Turns:
    """Makes a Turn of positions, in `dtype` on `device`; angles are computed in float32."""

    def __init__(self, rope: Rope, device: torch.device, dtype: torch.dtype) -> None:
        frequencies = torch.tensor(rope.frequencies, dtype=torch.float32, device=device)
        self._frequencies, self._factor, self._dtype = frequencies, rope.factor, dtype

    def at(self, positions: Tensor) -> Turn:
        """positions: int64 [rows]."""
        angles = positions[:, None, None].float() * self._frequencies
        cos, sin = angles.cos() * self._factor, angles.sin() * self._factor
        both = torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
        return Turn(both[0].to(self._dtype), both[1].to(self._dtype))


def turned(heads: Tensor, turn: Turn) -> Tensor:
    """heads: [rows, heads, head_dim], of one dtype with `turn`."""
    other = heads.roll(heads.shape[-1] // 2, -1)  # each number's partner
    return torch.addcmul(heads * turn.cos, other, turn.sin)
