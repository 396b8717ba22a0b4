"""How many bytes a decode step reads, from a checkpoint's config alone."""

import json
from pathlib import Path
from types import SimpleNamespace

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1, "int4": 0.625}  # of a weight


def read_config(model: Path) -> SimpleNamespace:
    """config.json, with its keys as attributes; without transformers, which would load torch. Of a
    GGUF file the size of its vocabulary alone."""
    if model.suffix == ".gguf":
        from gguf import GGUFReader

        tokens = GGUFReader(model).fields["tokenizer.ggml.tokens"]
        return SimpleNamespace(vocab_size=len(tokens.data))
    return SimpleNamespace(**json.loads((model / "config.json").read_text()))


def streamed_weights(config) -> int:
    """How many weights a decode step reads: all but the positions, of which it looks one up."""
    width = config.n_embd
    inner = getattr(config, "n_inner", None) or 4 * width
    attention = width * (width + 2 * width // config.n_head) + width * width
    return config.n_layer * (attention + 2 * width * inner) + config.vocab_size * width


def kv_values(config) -> int:
    """How many numbers a token has in the KV cache."""
    return 2 * config.n_layer * config.n_embd // config.n_head
