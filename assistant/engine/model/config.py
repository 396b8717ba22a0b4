"""The sizes and switches of a model: all that its forward pass must know beside weights."""

from dataclasses import dataclass, fields
from typing import cast

from assistant.text import quoted

# config.activation_function -> the `approximate` argument of F.gelu. The exact one is used at 15 B
# and 7 B, the tanh approximation (Hendrycks and Gimpel, arXiv:1606.08415) by the smaller ones.
ACTIVATIONS = {"gelu": "none", "gelu_pytorch_tanh": "tanh", "gelu_new": "tanh", "gelu_fast": "tanh"}


SIZE_MAX = 1 << 40  # of any size here; beyond it what they take cannot be reckoned


@dataclass(frozen=True, kw_only=True)
class Config:
    """The keys of a gpt_bigcode model that decide what it computes, with the defaults that
    transformers' GPTBigCodeConfig has for them (5.17), whose file may leave them out.

    Raises ValueError for a value of another type, a size below 1, and sizes that do not fit.
    """

    vocab_size: int = 50_257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None  # None: 4 times n_embd
    activation_function: str = "gelu_pytorch_tanh"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    multi_query: bool = True
    tie_word_embeddings: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), cast(type, field.type)
            if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
                raise ValueError(f"{field.name} is {quoted(value)}")
            if isinstance(value, int | float) and not isinstance(value, bool) and not value > 0:
                raise ValueError(f"{field.name} is {quoted(value)}, and must be above 0")
            if isinstance(value, int) and value > SIZE_MAX:
                raise ValueError(f"{field.name} is {quoted(value)}, and at most {SIZE_MAX}")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd, {self.n_embd}, is not a multiple of n_head, {self.n_head}")
