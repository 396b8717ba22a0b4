"""llama: Granite 3B and 8B, CodeLlama, DeepSeek-Coder, Yi-Coder, SmolLM2 and many more (LLaMA,
arXiv:2302.13971)."""

from typing import Any

from assistant.engine.checkpoint.families.family import Family, Names
from assistant.engine.checkpoint.families.fields import HEAD_MAX, LAYERS_MAX, Fields
from assistant.engine.checkpoint.families.rope import read_rope
from assistant.engine.model.config import Config


def read(fields: Fields) -> Config:
    """The Config of a config.json of this model_type, with transformers' defaults."""
    attention_bias = fields.switch("attention_bias", False)
    return Config(
        family="llama",
        **read_parts(fields, positions=2048, kv_heads=None),
        qkv_bias=attention_bias,
        out_bias=attention_bias,
        mlp_bias=fields.switch("mlp_bias", False),
    )


def read_parts(fields: Fields, positions: int, kv_heads: int | None) -> dict[str, Any]:
    """What LLaMA and Qwen2 have alike, as arguments of Config. positions, kv_heads: see
    read_sizes."""
    sizes = read_sizes(fields, positions, kv_heads)
    return sizes | {
        "norm": "rms",
        "epsilon": fields.number("rms_norm_eps", default=1e-6),
        "activation": fields.activation("hidden_act", "silu"),
        "gated": True,
        "rope": read_rope(fields, sizes["head_dim"], sizes["positions"]),
        "tied": fields.switch("tie_word_embeddings", False),
    }


def read_sizes(fields: Fields, positions: int, kv_heads: int | None) -> dict[str, Any]:
    """The sizes that models since LLaMA name alike, as arguments of Config. positions,
    kv_heads: defaults; None for as many as heads."""
    width = fields.size("hidden_size", default=4096)
    heads = fields.size("num_attention_heads", default=32)
    groups = fields.size("num_key_value_heads", default=kv_heads or heads)
    head_dim = fields.value("head_dim")
    if head_dim is None and width % heads:
        raise ValueError(f"hidden_size, {width}, is not a multiple of num_attention_heads, {heads}")
    if heads % groups:
        raise ValueError(
            f"num_attention_heads, {heads}, is not a multiple of num_key_value_heads, {groups}"
        )
    positions = fields.size("max_position_embeddings", default=positions)
    return {
        "vocab_size": fields.size("vocab_size", default=32_000),
        "positions": positions,
        "window": positions,
        "width": width,
        "layers": fields.size("num_hidden_layers", default=32, most=LAYERS_MAX),
        "heads": heads,
        "kv_heads": groups,
        "head_dim": fields.size("head_dim", default=width // heads, most=HEAD_MAX),
        "inner": fields.size("intermediate_size", default=11_008),
    }


NAMES = Names(
    prefix="model.",
    layer="layers.{n}.",
    tokens="embed_tokens",
    final_norm="norm",
    norm_1="input_layernorm",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    out="self_attn.o_proj",
    norm_2="post_attention_layernorm",
    up=("mlp.gate_proj", "mlp.up_proj"),
    down="mlp.down_proj",
)
FAMILY = Family(read, NAMES)
