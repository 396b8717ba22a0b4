"""The sizes and switches of a model: all that its forward pass must know beside weights."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Activation: TypeAlias = Literal["gelu", "gelu_tanh", "silu"]


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary positions (RoFormer, arXiv:2104.09864). frequencies: radians a position, for each of
    the head_dim / 2 pairs (n, n + head_dim / 2). factor: of what is rotated."""

    frequencies: tuple[float, ...]
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """A pre-norm decoder. Families (checkpoint/families) make one of a config.json.

    family: its model_type. positions: how many it was trained for, the rows of a learned table.
    window: how many of them are served. inner: width of the MLP. kv_heads: each is shared by heads
    / kv_heads query heads. gated: whether the MLP's activation is multiplied with a second product
    of its input. rope: None for learned positions. sliding: how many positions up to its own a
    token sees in the layers from `sliding_from` on; None for all. tied: whether the head is the
    embedding. The biases of a LayerNorm are always there, an RMSNorm has none.
    """

    family: str
    vocab_size: int
    positions: int
    window: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    norm: Literal["layer", "rms"] = "layer"
    epsilon: float = 1e-5
    activation: Activation = "gelu_tanh"
    gated: bool = False
    scaled: bool = True  # attention's scores by 1 / sqrt(head_dim)
    qkv_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True
    rope: Rope | None = None
    sliding: int | None = None
    sliding_from: int = 0
    tied: bool = True

    @property
    def kv_width(self) -> int:
        """Numbers that a layer keeps of each token: keys, then values, of all K/V heads."""
        return 2 * self.kv_heads * self.head_dim
