"""gpt_bigcode: StarCoder, SantaCoder, Granite 20B. GPT-2 with one K/V head for all (SantaCoder,
arXiv:2301.03988; StarCoder, arXiv:2305.06161)."""

from typing import Any

from assistant.engine.checkpoint.families.family import Family, Names
from assistant.engine.checkpoint.families.fields import LAYERS_MAX, Fields, NotSupported
from assistant.engine.model.config import Config

# Defaults as transformers' GPTBigCodeConfig has them (5.17); files may leave them out.


def read(fields: Fields) -> Config:
    """The Config of a config.json of this model_type."""
    if not fields.switch("multi_query", True):
        raise NotSupported("no multi-query attention, the only kind that runs in this family")
    fields.must_be("add_cross_attention", False)
    return Config(family="gpt_bigcode", kv_heads=1, **read_gpt2(fields, "gelu_pytorch_tanh"))


def read_gpt2(fields: Fields, activation: str) -> dict[str, Any]:
    """What GPT-2 and this family have alike, as arguments of Config. activation: the default."""
    width = fields.size("n_embd", "hidden_size", default=768)
    heads = fields.size("n_head", "num_attention_heads", default=12)
    if width % heads:
        raise ValueError(f"n_embd, {width}, is not a multiple of n_head, {heads}")
    positions = fields.size("n_positions", "max_position_embeddings", default=1024)
    return {
        "vocab_size": fields.size("vocab_size", default=50_257),
        "positions": positions,
        "window": positions,
        "width": width,
        "layers": fields.size("n_layer", "num_hidden_layers", default=12, most=LAYERS_MAX),
        "heads": heads,
        "head_dim": width // heads,
        "inner": fields.size("n_inner", default=4 * width),
        "epsilon": fields.number("layer_norm_epsilon", default=1e-5),
        "activation": fields.activation("activation_function", activation),
        "scaled": fields.switch("scale_attn_weights", True),
        "tied": fields.switch("tie_word_embeddings", True),
    }


NAMES = Names(
    prefix="transformer.",
    layer="h.{n}.",
    tokens="wte",
    positions="wpe",
    final_norm="ln_f",
    norm_1="ln_1",
    qkv=("attn.c_attn",),
    out="attn.c_proj",
    norm_2="ln_2",
    up=("mlp.c_fc",),
    down="mlp.c_proj",
)
FAMILY = Family(read, NAMES)
