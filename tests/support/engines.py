"""Real engines on small checkpoints."""

from types import SimpleNamespace

import torch

from assistant.engine.checkpoint.config import parse_config
from assistant.engine.checkpoint.shapes import EMBEDDING, HEAD, LINEAR
from assistant.engine.checkpoint.weights import renamed
from assistant.engine.local.engine import LocalEngine
from assistant.engine.model import int4, int8
from assistant.engine.model.config import Config
from assistant.engine.tokenizer import load_tokenizer
from tests.support.reading import GREEDY, greedy, read  # noqa: F401

STARCODER = Config(
    family="gpt_bigcode",
    layers=40,
    width=6144,
    heads=48,
    kv_heads=1,
    head_dim=128,
    inner=24576,
    positions=8192,
    window=8192,
    vocab_size=49152,
)


def load_module(folder, **config):
    """The transformers module in float32: the oracle, and what the engine's tensors come from."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32", **config).eval()


def config_of(module):
    """The engine's Config of a transformers module, or of its configuration."""
    config = getattr(module, "config", module)
    return parse_config(config.to_dict(), "tiny")


def tensors_of(module):
    """A transformers module's tensors under the names that the engine knows them by."""
    return renamed(config_of(module), module.state_dict())


def in_int4(tensors):
    """What read_tensors gives of such tensors."""
    small = {
        name: int4.quantize(tensor) if name.endswith(LINEAR) else tensor.bfloat16()
        for name, tensor in tensors.items()
    }
    return small | {HEAD: int8.quantize(tensors.get(HEAD, tensors[EMBEDDING]))}


def unpacked(weight):
    """A Packed of a CPU in float32, by the product of a unit matrix."""
    width = len(weight.grids) * weight.group
    product = torch.ops.aten._weight_int4pack_mm_for_cpu
    whole = product(torch.eye(width), weight.values, weight.group, weight.grids.float()).T
    return whole[: weight.shape[0], : weight.shape[1]]


def make_engine(folder, module=None, *, dtype="float32", **options):
    module = module or load_module(folder)
    tensors = tensors_of(module)
    checkpoint = SimpleNamespace(
        name="tiny",
        revision=None,
        embedded=False,
        config=config_of(module),
        tensors=in_int4(tensors) if dtype == "int4" else tensors,
        tokenizer=load_tokenizer(folder),
        dtype=dtype,
        adapter=None,
    )
    return LocalEngine(lambda: checkpoint, **options)
