"""A process that may hang or crash in place of the program's: proof.py's attempts on one layer of a
model's shapes, with random weights.

python -m assistant.engine.local.trial OPTIONS, the JSON that proof.py writes. Prints a line of JSON
when it begins and one for each step: its name, and why it failed or null. Where memory is short it
says so and ends early.
"""

import faulthandler
import json
import os
import signal
import sys
import threading
from dataclasses import replace
from typing import Any

import torch

from assistant.engine.checkpoint.shapes import EMBEDDING, HEAD, LINEAR, expected_shapes
from assistant.engine.device import use_card
from assistant.engine.local.cache import Cache
from assistant.engine.local.drafts import DRAFT_ROWS
from assistant.engine.local.failures import is_out_of_memory
from assistant.engine.local.proof import attempts, describe
from assistant.engine.local.sampler import Sampler
from assistant.engine.local.step import DecodeStep
from assistant.engine.model import kernels
from assistant.engine.model.config import Config, Rope
from assistant.engine.model.int4 import quantize
from assistant.engine.model.int8 import SCALE_DTYPE, Quantized
from assistant.engine.model.linear import Weight
from assistant.engine.model.model import Model
from assistant.errors import CheckpointError

# Of a dense model, whose products are torch's own, and what the vocabulary leaves over by that.
_VOCABULARY = _INNER = 1024
# Of an int8 one: from here on kernels.int8_linear no longer splits the inputs, whatever they are.
# What is left over by this stays, since kernels also differ by whether it is a multiple of 16.
_INT8_VOCABULARY = kernels.PROGRAMS * kernels.BLOCK_OUT


def one_layer(config: Config, device: torch.device, dtype: torch.dtype, kind: str | None) -> Model:
    """One of each kind of layer. config: that of the whole model. kind: as for read_tensors."""
    vocabulary, inner = config.vocab_size, config.inner
    most = _INT8_VOCABULARY if kind else _VOCABULARY
    some_slide = config.sliding is not None and 0 < config.sliding_from < config.layers
    config = replace(
        config,
        layers=1 + some_slide,  # a kernel is compiled for each kind
        sliding_from=min(config.sliding_from, 1),
        vocab_size=min(vocabulary, most + vocabulary % most),
        inner=inner if kind == "int8" else min(inner, _INNER),
    )
    torch.manual_seed(0)
    tensors: dict[str, Weight] = {}
    shapes = expected_shapes(config)
    for name, size in {**shapes, HEAD: shapes[EMBEDDING]}.items() if kind else shapes.items():
        if kind == "int8" and name.endswith(LINEAR) or kind and name == HEAD:
            values = torch.randint(-127, 128, size, dtype=torch.int8, device=device)
            scale = torch.full(size[:1], size[-1] ** -0.5 / 64, dtype=SCALE_DTYPE, device=device)
            tensors[name] = Quantized(values, scale)
        elif "norm" in name and name.endswith("weight"):
            tensors[name] = torch.ones(size, dtype=dtype, device=device)
        else:
            tensor = torch.randn(size, dtype=dtype, device=device) * size[-1] ** -0.5
            tensors[name] = quantize(tensor) if kind and name.endswith(LINEAR) else tensor
    return Model(config, tensors)


def read_config(values: dict[str, Any]) -> Config:
    """What dataclasses.asdict made of a Config, and JSON of that."""
    rope = values["rope"]
    if rope is not None:
        rope = Rope(tuple(rope["frequencies"]), rope["factor"])
    return Config(**values | {"rope": rope})


def end_with_parent() -> None:
    """End this process group, with the compilers in it, as soon as nobody holds the other end of
    the standard input: however the parent ended, it did not wait."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


@torch.inference_mode()
def main(options: dict[str, Any]) -> None:
    faulthandler.dump_traceback_later(options["deadline_s"], exit=True)  # should nobody else end it
    end_with_parent()
    device = torch.device(options["device"])
    use_card(device)
    model = one_layer(
        read_config(options["config"]), device, getattr(torch, options["dtype"]), options["kind"]
    )
    cache = Cache(model, 2)
    decode_step = DecodeStep(model, cache, Sampler(cache.kv[0].shape[1], model.vocab_size, device))
    report("begun", None)
    try:
        for name, why in attempts(decode_step, DRAFT_ROWS, options["refused"]):
            report(name, why)
    except CheckpointError as error:  # the card is broken for this process: its advice is not ours
        sys.exit(str(error.__cause__).partition("\n")[0])
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        report("no memory", describe(error))


def report(name: str, why: str | None) -> None:
    print(json.dumps([name, why]), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
