"""The tensors of a model: their names and shapes inside this program, and the memory they take.

Names are the same for all families: "tokens", "layers.0.qkv", "final_norm" and so on, each with
".weight" and most with ".bias"; matrices are [out, in]. Knows a Config; no files.
"""

from math import prod
from typing import NamedTuple

import torch

from assistant.engine.local.drafts import DRAFT_ROWS
from assistant.engine.model.config import Config
from assistant.engine.model.int4 import int4_bytes
from assistant.engine.model.int8 import quantized_bytes

EMBEDDING, HEAD = "tokens.weight", "head.weight"
LINEAR = ("qkv.weight", "out.weight", "up.weight", "down.weight")
# What a tensor is read as at most: StarCoder's files hold float32, and quantised tensors of a GGUF
# file become it, as does what an adapter is added to. No model is known to hold float64.
_WIDEST = torch.float32.itemsize
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


def weight_bytes(config: Config, dtype: torch.dtype, kind: str | None = None) -> tuple[int, int]:
    """Bytes that the weights of a layer take, and those outside of the layers.

    dtype: of whatever is dense. kind: "int8" or "int4", of the linear weights in place of it, with
    a head in int8 that is there beside a tied embedding.
    """
    shapes, outer = layer_shapes(config), outer_shapes(config)
    layer, rest = (sum(map(prod, part.values())) * dtype.itemsize for part in (shapes, outer))
    if kind:
        small = int4_bytes if kind == "int4" else quantized_bytes
        linear = [shapes[name] for name in LINEAR]
        layer += sum(map(small, linear)) - sum(map(prod, linear)) * dtype.itemsize
        rest += quantized_bytes(outer[EMBEDDING]) - prod(outer.get(HEAD, (0,))) * dtype.itemsize
    return layer, rest


class Shares(NamedTuple):
    """Bytes of a model that is spread over devices. layer: of each layer, wherever it is, with its
    KV. outer: of all else, and of drawing. beside: on every device that holds layers, for a while.
    """

    layer: int
    outer: int
    beside: int


def shares(config: Config, slots: int, dtype: torch.dtype, kind: str | None = None) -> Shares:
    """What bytes_needed counts, for a card, in parts; a CPU's part is reckoned in the same way.
    There is no slot more than `slots`, since nothing is captured over several devices.
    What is held while weights are read and what while replies are computed counts in full here."""
    layer, outer = weight_bytes(config, dtype, kind)
    layer += slots * count_kv(config) // config.layers * dtype.itemsize
    reading = [
        _WIDEST * max(map(prod, shapes.values()))
        for shapes in (layer_shapes(config), outer_shapes(config))
    ]
    dense, holes = _dense_bytes(config, dtype, kind)
    beside = max(reading[0], dense) + holes + _copied_bytes(config, dtype)
    return Shares(layer, outer + max(reading[1] - beside, 0) + _drawing(config, slots), beside)


def bytes_needed(
    config: Config, slots: int, device: torch.device, dtype: torch.dtype, kind: str | None = None
) -> int:
    """The most bytes held on `device` at once: the weights and what replies take beside them, or,
    while weights are still read, the largest tensor in float32.

    dtype: of whatever is dense. kind: "int8" on a CPU are weights beside the dense ones, elsewhere
    in their place; "int4" is in their place everywhere, with a head in int8. What is read to a CPU
    is mostly the file's own pages, which take no memory; of a GGUF file, or with an adapter, each
    tensor takes memory of its own while it is read, which is not counted.

    Replies take the KV cache of all `slots`. On a card that has a slot more (cache.py), the largest
    step draws as many tokens as it has rows, for many rows a weight in int8 is made dense, and for
    a prompt the keys and values of groups are copied for each head, in one layer (attention.py).
    """
    kv, on_cpu = count_kv(config) * dtype.itemsize, device.type == "cpu"
    if on_cpu and kind != "int4":
        return count_parameters(config) * (dtype.itemsize + (kind == "int8")) + slots * kv
    layer, outer = weight_bytes(config, dtype, kind)
    held, replies = config.layers * layer + outer, slots * kv
    if not on_cpu:
        dense, holes = _dense_bytes(config, dtype, kind)
        held += holes
        replies += kv + _drawing(config, slots) + dense + _copied_bytes(config, dtype)
    largest = max(map(prod, [*layer_shapes(config).values(), *outer_shapes(config).values()]))
    return held + max(replies, _WIDEST * largest)


def _drawing(config: Config, slots: int) -> int:
    return max(slots, DRAFT_ROWS) * config.vocab_size * _DRAWING


def _copied_bytes(config: Config, dtype: torch.dtype) -> int:
    """On a card, of the keys and values of groups, copied for each head while a prompt is read."""
    grouped = 1 < config.kv_heads < config.heads
    return 2 * config.window * config.heads * config.head_dim * dtype.itemsize * grouped


def _dense_bytes(config: Config, dtype: torch.dtype, kind: str | None) -> tuple[int, int]:
    """On a card, of a weight that is made dense for many rows, and of the holes in memory that
    weights leave which were read dense and given back; int8 ones fill those in part: an H200 held
    0.3 GB more than the tensors."""
    if not kind:
        return 0, 0
    linear = [prod(layer_shapes(config)[name]) for name in LINEAR]
    head = prod(outer_shapes(config)[EMBEDDING])  # the head's shape, tied or not
    dense = max([head] if kind == "int4" else [*linear, head])
    return dense * dtype.itemsize, max(linear) * dtype.itemsize
