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
from assistant.engine.model.int8 import SCALE_DTYPE, Quantized
from assistant.engine.model.model import Model
from assistant.errors import CheckpointError

# Of a dense model, whose products are torch's own, and what the vocabulary leaves over by that.
_VOCABULARY = _INNER = 1024
# Of an int8 one: from here on kernels.int8_linear no longer splits the inputs, whatever they are.
# What is left over by this stays, since kernels also differ by whether it is a multiple of 16.
_INT8_VOCABULARY = kernels.PROGRAMS * kernels.BLOCK_OUT


def one_layer(config: Config, device: torch.device, dtype: torch.dtype, int8: bool) -> Model:
    """config: that of the whole model."""
    vocabulary, inner = config.vocab_size, config.inner
    most = _INT8_VOCABULARY if int8 else _VOCABULARY
    config = replace(
        config,
        layers=1,
        sliding_from=0,  # the one layer slides where any does
        vocab_size=min(vocabulary, most + vocabulary % most),
        inner=inner if int8 else min(inner, _INNER),
    )
    torch.manual_seed(0)
    tensors = {
        name: torch.randn(size, dtype=dtype, device=device) * size[-1] ** -0.5
        for name, size in expected_shapes(config).items()
        if not (int8 and name.endswith(LINEAR))
    }
    if int8:
        shapes = expected_shapes(config)
        linear = {name: size for name, size in shapes.items() if name.endswith(LINEAR)}
        for name, (rows, width) in {**linear, HEAD: shapes[EMBEDDING]}.items():
            values = torch.randint(-127, 128, (rows, width), dtype=torch.int8, device=device)
            scale = torch.full((rows,), width**-0.5 / 64, dtype=SCALE_DTYPE, device=device)
            tensors[name] = Quantized(values, scale)
    for name in tensors:
        if "norm" in name and name.endswith("weight"):
            tensors[name] = torch.ones_like(tensors[name])
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
        read_config(options["config"]), device, getattr(torch, options["dtype"]), options["int8"]
    )
    cache = Cache(model, 2)
    decode_step = DecodeStep(model, cache, Sampler(cache.kv.shape[1], model.vocab_size, device))
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
