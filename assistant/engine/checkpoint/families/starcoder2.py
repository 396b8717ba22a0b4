"""starcoder2: StarCoder2 3B, 7B and 15B (arXiv:2402.19173)."""

from assistant.engine.checkpoint.families import llama
from assistant.engine.checkpoint.families.family import Family
from assistant.engine.checkpoint.families.fields import Fields
from assistant.engine.checkpoint.families.rope import read_rope
from assistant.engine.model.config import Config


def read(fields: Fields) -> Config:
    """The Config of a config.json of this model_type; files name all of its sizes."""
    sizes = llama.read_sizes(fields, positions=4096, kv_heads=2)
    bias = fields.switch("use_bias", True)
    sliding = fields.value("sliding_window")
    return Config(
        family="starcoder2",
        **sizes,
        epsilon=fields.number("norm_epsilon", default=1e-5),
        activation=fields.activation("hidden_act", "gelu_pytorch_tanh"),
        qkv_bias=bias,
        out_bias=bias,
        mlp_bias=bias,
        rope=read_rope(fields, sizes["head_dim"], sizes["positions"]),
        sliding=None if sliding is None else fields.size("sliding_window"),
        tied=fields.switch("tie_word_embeddings", True),
    )


FAMILY = Family(read, llama.NAMES._replace(up=("mlp.c_fc",), down="mlp.c_proj"))
