"""The tensors of a model: their names and shapes inside this program, and the memory they take.

Names are the same for all families: "tokens", "layers.0.qkv", "final_norm" and so on, each with
".weight" and most with ".bias"; matrices are [out, in]. Knows a Config; no files.
"""

from math import prod

import torch

from assistant.engine.local.drafts import DRAFT_ROWS
from assistant.engine.model.config import Config
from assistant.engine.model.int4 import int4_bytes
from assistant.engine.model.int8 import quantized_bytes

EMBEDDING, HEAD = "tokens.weight", "head.weight"
LINEAR = ("qkv.weight", "out.weight", "up.weight", "down.weight")
_WIDEST = torch.float32.itemsize  # what files hold at most: StarCoder's own are float32
# Bytes on a card for each row of the largest step and each token of the vocabulary while tokens are
# drawn: the tensors of sampler.py and the logits take 87 at their peak, sorting values, ids and
# order with a second copy of each 32, and the logits that each smaller captured step keeps 12
# (test_capture.py counts them). The rest is for an allocator that finds no fitting block.
_DRAWING = 140

Shapes = dict[str, tuple[int, ...]]  # of tensors, by their names


def layer_shapes(config: Config) -> Shapes:
    """Those of one layer, without its number."""
    width, queries = config.width, config.heads * config.head_dim
    linear = {
        "qkv": ((queries + config.kv_width, width), config.qkv_bias),
        "out": ((width, queries), config.out_bias),
        "up": (((1 + config.gated) * config.inner, width), config.mlp_bias),
        "down": ((width, config.inner), config.mlp_bias),
    }
    shapes: Shapes = {f"{name}.weight": shape for name, (shape, _) in linear.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, (shape, bias) in linear.items() if bias}
    return shapes | _norm(config, "norm_1") | _norm(config, "norm_2")


def outer_shapes(config: Config) -> Shapes:
    """Those outside of the layers; a tied head is none of its own."""
    head = config.vocab_size, config.width
    shapes: Shapes = {EMBEDDING: head} | _norm(config, "final_norm")
    if config.rope is None:
        shapes["positions.weight"] = config.positions, config.width
    return shapes if config.tied else shapes | {HEAD: head}


def _norm(config: Config, name: str) -> Shapes:
    parts = ("weight", "bias") if config.norm == "layer" else ("weight",)
    return {f"{name}.{part}": (config.width,) for part in parts}


def expected_shapes(config: Config) -> Shapes:
    """Those of every tensor of the model."""
    shapes = outer_shapes(config)
    for i in range(config.layers):
        shapes |= {f"layers.{i}.{name}": shape for name, shape in layer_shapes(config).items()}
    return shapes


def count_parameters(config: Config) -> int:
    """How many numbers the weights hold; a tied head counts once."""
    layer = sum(map(prod, layer_shapes(config).values()))
    return config.layers * layer + sum(map(prod, outer_shapes(config).values()))


def count_kv(config: Config) -> int:
    """How many numbers the keys and values of one full window hold."""
    return config.window * config.layers * config.kv_width


def bytes_needed(
    config: Config, slots: int, device: torch.device, dtype: torch.dtype, kind: str | None = None
) -> int:
    """The most bytes held on `device` at once: the weights and what replies take beside them, or,
    while weights are still read, the largest tensor as the file has it.

    dtype: of whatever is dense. kind: "int8" on a CPU are weights beside the dense ones, elsewhere
    in their place; "int4" is in their place everywhere, with a head in int8. What is read to a CPU
    is mostly the file's own pages, which take no memory.

    Replies take the KV cache of all `slots`. On a card that has a slot more (cache.py), the largest
    step draws as many tokens as it has rows, for many rows a weight in int8 is made dense, and for
    a prompt the keys and values of groups are copied for each head, in one layer (attention.py).
    """
    weights, kv = count_parameters(config), count_kv(config) * dtype.itemsize
    on_cpu = device.type == "cpu"
    if on_cpu and kind != "int4":
        return weights * (dtype.itemsize + (kind == "int8")) + slots * kv
    drawing = max(slots, DRAFT_ROWS) * config.vocab_size * _DRAWING
    replies = slots * kv if on_cpu else (slots + 1) * kv + drawing
    if not on_cpu and 1 < config.kv_heads < config.heads:
        replies += 2 * config.window * config.heads * config.head_dim * dtype.itemsize
    layer, outer = layer_shapes(config), outer_shapes(config)
    held = weights * dtype.itemsize
    if kind:
        linear = [layer[name] for name in LINEAR]
        head = outer[EMBEDDING]  # the head's shape, tied or not
        dense = config.layers * sum(map(prod, linear)) + prod(outer.get(HEAD, (0,)))
        held -= dense * dtype.itemsize
        small_bytes = int4_bytes if kind == "int4" else quantized_bytes
        held += config.layers * sum(map(small_bytes, linear)) + quantized_bytes(head)
    if kind and not on_cpu:
        replies += max(map(prod, [head] if kind == "int4" else [*linear, head])) * dtype.itemsize
        # What was read dense and given back leaves holes that int8 weights fill in part: an H200
        # held 0.3 GB more than the tensors.
        held += max(map(prod, linear)) * dtype.itemsize
    return held + max(replies, _WIDEST * max(map(prod, [*layer.values(), *outer.values()])))
