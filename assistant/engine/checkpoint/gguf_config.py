"""What a GGUF file says of its model, as the config.json that transformers would have for it.

A file does not say everything. What llama.cpp computes for an architecture counts then: GELU is its
approximation by tanh, and a StarCoder2 sees all positions unless the file names a sliding window.
"""

import math
from collections.abc import Mapping
from typing import Any

from assistant.engine.checkpoint.gguf_header import NotSupported, told
from assistant.engine.checkpoint.gguf_names import (
    ATTENTION,
    MLP,
    Architecture,
    find_architecture,
    split_name,
)
from assistant.text import quoted

EMBEDDING, HEAD = "token_embd.weight", "output.weight"
ROPE_FACTORS = "rope_freqs.weight"  # of Llama 3's stretched positions: no weight of the model
SIZE_MAX = (1 << 31) - 1  # of any size; the format has 32 bits for them
# Keys of an architecture that change nothing, and those that change nothing with this value
_IGNORED = {"vocab_size", "tensor_data_layout", "rope.scaling.finetuned"}
_NEUTRAL = {
    "attention.causal": True,
    "attention.clamp_kqv": 0,
    "attention.max_alibi_bias": 0,
    "attention.sliding_window": 0,
    "expert_count": 0,
    "expert_used_count": 0,
    "pooling_type": 0,
    "rope.scaling.attn_factor": 1,
    "use_parallel_residual": False,
}


class _Fields:
    """An architecture's keys, without its name in front; remembers which were read. Raises
    ValueError for a value of another type or out of range."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values, self._read = values, set[str]()

    def value(self, name: str, default: Any = None) -> Any:
        self._read.add(name)
        return self._values.get(name, default)

    def size(self, name: str, default: int | None = None) -> int:
        value = self._value(name, default)
        if type(value) is not int or not 0 < value <= SIZE_MAX:
            raise ValueError(f"{name} is {told(value)}, and must be from 1 to {SIZE_MAX}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self._value(name, default)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise ValueError(f"{name} is {told(value)}, and must be above 0")
        return float(value)

    def _value(self, name: str, default: object) -> Any:
        if (value := self.value(name, default)) is None:
            raise ValueError(f"{name} is missing")
        return value

    def check_unread(self) -> None:
        """Raises NotSupported for a key that nobody read and that may change the result."""
        for name in self._values.keys() - self._read - _IGNORED:
            value = self._values[name]
            if name not in _NEUTRAL or value != _NEUTRAL[name]:
                raise NotSupported(f"the key {quoted(name)}, {told(value)}, which is not known")


def read_config(
    keys: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], factors: list[float] | None
) -> dict[str, Any]:
    """The config. shapes: of the tensors, by the file's own names. factors: what each pair's wave
    is stretched by, where the file has ROPE_FACTORS. Raises ValueError for what is broken, and
    NotSupported for what would change the result and is not known here."""
    architecture, prefix = find_architecture(keys), f"{keys['general.architecture']}."
    if (version := keys.get("general.quantization_version", 2)) != 2:
        raise NotSupported(f"general.quantization_version {told(version)}; only 2 is read")
    if len(shapes.get(EMBEDDING, ())) != 2:
        raise ValueError(f"it has no matrix {EMBEDDING}")
    fields = _Fields(
        {key.removeprefix(prefix): value for key, value in keys.items() if key.startswith(prefix)}
    )
    layers = fields.size("block_count")
    named = [split_name(name) for name in shapes]
    if extra := next((layer for layer, _, _ in named if layer is not None and layer >= layers), 0):
        raise ValueError(f"block_count is {layers}, and it has a layer {extra}")
    if factors is not None and "position_embd" in architecture.names:
        raise NotSupported(f"{ROPE_FACTORS} beside learned positions")
    biased = {part for _, part, kind in named if kind == "bias"}
    if "position_embd" in architecture.names:
        own = _read_gpt2(fields, architecture)
    else:
        own = _read_llama(fields, architecture, biased) | _read_rope(fields, factors)
    fields.check_unread()
    return own | {
        "model_type": architecture.model_type,
        "vocab_size": shapes[EMBEDDING][0],
        "tie_word_embeddings": HEAD not in shapes,
    }


def _read_gpt2(fields: _Fields, architecture: Architecture) -> dict[str, Any]:
    heads = fields.size("attention.head_count")
    groups = fields.size("attention.head_count_kv", heads)
    own: dict[str, Any] = {"activation_function": "gelu_new"}
    if architecture.model_type == "gpt_bigcode":
        own = {"activation_function": "gelu_pytorch_tanh", "multi_query": groups == 1}
    if groups != heads and not own.get("multi_query"):
        raise NotSupported(f"{heads} heads and attention.head_count_kv {groups}")
    return own | {
        "n_embd": fields.size("embedding_length"),
        "n_head": heads,
        "n_inner": fields.size("feed_forward_length"),
        "n_layer": fields.size("block_count"),
        "n_positions": fields.size("context_length"),
        "layer_norm_epsilon": fields.number("attention.layer_norm_epsilon"),
    }


def _read_llama(fields: _Fields, architecture: Architecture, biased: set[str]) -> dict[str, Any]:
    """All but the rotary positions. biased: what has a bias in any layer."""
    own: dict[str, Any]
    if architecture.model_type == "starcoder2":
        own = {
            "hidden_act": "gelu_pytorch_tanh",
            "norm_epsilon": fields.number("attention.layer_norm_epsilon"),
            "use_bias": bool(biased & (ATTENTION | MLP)),
            "sliding_window": None,
        }
        if fields.value("attention.sliding_window"):
            own["sliding_window"] = fields.size("attention.sliding_window")
    else:
        epsilon = fields.number("attention.layer_norm_rms_epsilon")
        own = {"hidden_act": "silu", "rms_norm_eps": epsilon}
    if architecture.model_type == "llama":
        own |= {"attention_bias": bool(biased & ATTENTION), "mlp_bias": bool(biased & MLP)}
    if architecture.model_type == "qwen2":
        own |= {"use_sliding_window": False}
    heads = fields.size("attention.head_count")
    return own | {
        "hidden_size": fields.size("embedding_length"),
        "intermediate_size": fields.size("feed_forward_length"),
        "num_hidden_layers": fields.size("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.size("attention.head_count_kv", heads),
    }


def _read_rope(fields: _Fields, factors: list[float] | None) -> dict[str, Any]:
    width, heads = fields.size("embedding_length"), fields.size("attention.head_count")
    head_dim = fields.value("attention.key_length")
    if head_dim is None and width % heads:
        raise ValueError(f"embedding_length, {width}, is not a multiple of the {heads} heads")
    head_dim = fields.size("attention.key_length", width // heads)
    if head_dim % 2:
        raise ValueError(f"its heads of {head_dim} numbers have no halves to rotate")
    for name in ("attention.value_length", "rope.dimension_count"):
        if (size := fields.size(name, head_dim)) != head_dim:
            raise NotSupported(f"heads of {head_dim} numbers and {name} {size}")
    window, theta = fields.size("context_length"), fields.number("rope.freq_base", 10_000.0)
    scaling = _read_scaling(fields, window)
    if factors is not None and (stretched := _fit_llama3(factors, theta, head_dim)):
        if scaling:
            raise NotSupported(f"both {ROPE_FACTORS} and rope.scaling.factor")
        scaling = stretched
    return {
        "head_dim": head_dim,
        "max_position_embeddings": window,
        "rope_theta": theta,
        "rope_scaling": scaling,
    }


def _read_scaling(fields: _Fields, window: int) -> dict[str, Any] | None:
    """rope_scaling. As in llama.cpp, a factor of 0 or none is 1, and one without a type linear."""
    kind, factor = fields.value("rope.scaling.type", "linear"), 1.0
    for name in ("rope.scale_linear", "rope.scaling.factor"):  # the older name first
        if fields.value(name):
            factor = fields.number(name)
    original = fields.size("rope.scaling.original_context_length", window)
    fast = fields.number("rope.scaling.yarn_beta_fast", 32.0)
    slow = fields.number("rope.scaling.yarn_beta_slow", 1.0)
    if kind == "yarn":
        own = {"factor": factor, "beta_fast": fast, "beta_slow": slow}
        return own | {"rope_type": "yarn", "original_max_position_embeddings": original}
    if kind not in ("none", "linear"):
        raise NotSupported(f"rope.scaling.type {told(kind)}; only none, linear and yarn are read")
    if kind == "none" or factor == 1:
        return None
    return {"rope_type": "linear", "factor": factor}


def _fit_llama3(factors: list[float], theta: float, head_dim: int) -> dict[str, Any] | None:
    """The rope_scaling that gives `factors`; None for factors of 1. The file has no more than them,
    but all models have the rest alike (Llama 3.1, arXiv:2407.21783): waves that turn more than 4
    times in 8192 positions stay, those that turn less than once take the whole factor, and between
    them the frequency goes from one to the other in a straight line."""
    low, high, original = 1.0, 4.0, 8192
    if all(given == 1 for given in factors):
        return None
    pairs, factor = range(0, head_dim, 2), max(factors)
    alike = len(pairs) == len(factors) and 1 < factor < math.inf
    for n, given in zip(pairs, factors, strict=False):
        turns = original / (2 * math.pi * theta ** (n / head_dim))
        kept = min(max((turns - low) / (high - low), 0), 1)
        alike = alike and math.isclose(given * (kept + (1 - kept) / factor), 1, rel_tol=1e-3)
    if not alike:
        raise NotSupported(f"a {ROPE_FACTORS} that is not as Llama 3.1 stretches its positions")
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }
