"""qwen2: Qwen2.5-Coder (arXiv:2409.12186). LLaMA with biases on queries, keys and values."""

from assistant.engine.checkpoint.families import llama
from assistant.engine.checkpoint.families.family import Family
from assistant.engine.checkpoint.families.fields import Fields, NotSupported
from assistant.engine.model.config import Config
from assistant.text import quoted

_FULL, _SLIDING = "full_attention", "sliding_attention"


def read(fields: Fields) -> Config:
    """The Config of a config.json of this model_type; files name all of its sizes."""
    parts = llama.read_parts(fields, positions=32_768, kv_heads=32)
    sliding, first = _read_sliding(fields, parts["layers"])
    return Config(
        family="qwen2",
        **parts,
        out_bias=False,
        mlp_bias=False,
        sliding=sliding,
        sliding_from=first,
    )


def _read_sliding(fields: Fields, layers: int) -> tuple[int | None, int]:
    """(Positions that a sliding layer sees, the first such layer)."""
    size = fields.size("sliding_window", default=4096)
    first = fields.value("max_window_layers")
    first = 28 if first is None else first
    kinds = fields.value("layer_types")
    if not fields.switch("use_sliding_window", False):
        return None, 0
    if type(first) is not int or first < 0:
        raise ValueError(f"max_window_layers is {quoted(first)}")
    if kinds is not None:
        if not isinstance(kinds, list):
            raise ValueError(f"layer_types is {quoted(kinds)}")
        first = kinds.index(_SLIDING) if _SLIDING in kinds else layers
        if kinds != [_FULL] * first + [_SLIDING] * (layers - first):
            raise NotSupported("layer_types that alternate, which is not supported")
    return (size, first) if first < layers else (None, 0)


FAMILY = Family(read, llama.NAMES)
