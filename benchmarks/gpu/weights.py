"""StarCoder's geometry with random weights made on the device: nothing is downloaded.

Timings do not depend on the weights' values; texts mean nothing.
"""

from types import SimpleNamespace

import torch
import transformers

from assistant.engine.checkpoint.config import parse_config
from assistant.engine.checkpoint.shapes import EMBEDDING, HEAD, LINEAR, expected_shapes
from assistant.engine.checkpoint.weights import file_names, renamed
from assistant.engine.device import QUANTISED, on_card
from assistant.engine.model import int4, int8
from benchmarks.gpu import inside
from benchmarks.gpu.place import Place

GEOMETRY = {  # StarCoder, 15.5 B parameters (arXiv:2305.06161)
    "n_layer": 40,
    "n_embd": 6144,
    "n_head": 48,
    "n_inner": 24576,
    "vocab_size": 49152,
    "n_positions": 8192,
    "activation_function": "gelu",
    "bos_token_id": 0,
    "eos_token_id": 0,
}
SMALL = {"n_layer": 2, "n_embd": 64, "n_head": 2, "n_inner": 256, "vocab_size": 384}
WINDOW = 256  # of the small one
SPREAD = 0.02  # of the weights: a fresh model's
ROOM = 0.9  # of the free memory, that a model may take: the peers need some as well


class _Numbers:
    """A tokenizer for ids that mean nothing: every token's text is empty."""

    special, eos_id = {"<|endoftext|>": 0}, 0

    def __init__(self, size: int):
        self._size = size

    def __len__(self):
        return self._size

    def decode(self, ids):
        return ""

    def decoder(self):
        return SimpleNamespace(feed=lambda ids: "", flush=lambda: "")


def geometry(place: Place, *, slots: int, layers: int = 40):
    """The config: of so many layers, or half and half again until it fits in bfloat16 with `slots`
    on this card."""
    if not place.on_card:
        return transformers.GPTBigCodeConfig(**GEOMETRY | SMALL | {"n_positions": WINDOW})
    while True:
        config = transformers.GPTBigCodeConfig(**GEOMETRY | {"n_layer": layers})
        needed = inside.reckoned_bytes(config, slots, place.device, None)
        if layers == 1 or needed < ROOM * torch.cuda.mem_get_info()[0]:
            return config
        layers //= 2


def random_module(config, device: str, dtype: torch.dtype = torch.bfloat16):
    """transformers' module with its weights drawn on `device`, never on the CPU."""
    with torch.device("meta"):
        module = transformers.GPTBigCodeForCausalLM(config)
    module = module.to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    for name, tensor in module.named_parameters():
        tensor.requires_grad_(False)
        if "ln_" in name and name.endswith("weight"):
            tensor.fill_(1.0)
        elif name.endswith("bias"):
            tensor.zero_()
        else:
            tensor.normal_(std=SPREAD, generator=generator)
    module.tie_weights()
    return module.eval()


def random_checkpoint(module, dtype: str = "bfloat16"):
    """What LocalEngine opens: the module's own tensors under their names in a checkpoint. int8 and
    int4: on a card the linear ones are quantised, and are then gone from the module."""
    config = parse_config(module.config.to_dict(), "random StarCoder")
    tensors = renamed(config, {name: part.data for name, part in module.named_parameters()})
    if dtype in QUANTISED and on_card(module.device):
        quantize = int4.quantize if dtype == "int4" else int8.quantize
        tensors[HEAD] = int8.quantize(tensors[EMBEDDING])
        linear = (name for name in expected_shapes(config) if name.endswith(LINEAR))
        for name in linear:
            (key,) = file_names(config, name)
            module.transformer.get_submodule(key.removesuffix(".weight")).weight = None
            tensors[name] = quantize(tensors[name])
        torch.cuda.empty_cache()
    return SimpleNamespace(
        name="random StarCoder",
        revision=None,
        embedded=False,
        adapter=None,
        config=config,
        tensors=tensors,
        tokenizer=_Numbers(module.config.vocab_size),
        dtype=dtype,
    )
