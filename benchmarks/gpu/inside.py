"""All that the parts need of an engine and is not its public face: nothing else reaches inside."""

import time
from functools import partial

import torch

from assistant.engine import card
from assistant.engine.checkpoint.config import parse_config
from assistant.engine.checkpoint.shapes import bytes_needed
from assistant.engine.device import RESERVE, on_card
from assistant.engine.local import engine, proof
from assistant.engine.local.step import Row
from assistant.engine.model import kernels
from benchmarks.report import Line

TOKEN = 20  # of rows whose text means nothing
WARM = 3  # steps that are not timed


def limit_trial(seconds: float | None) -> None:
    """Engines that are opened from now on try for so long in another process what the card can do.
    None: not at all, since parts run in one that may die."""
    engine.try_elsewhere = (
        partial(proof.try_elsewhere, deadline_s=seconds) if seconds else lambda model: {}
    )


def graphs(engine) -> list[int]:
    """The numbers of rows that steps were captured for."""
    return [rows for rows, *_ in engine._scheduler.decode_step.graphs]


def computes_in(engine, name: str) -> Line:
    """What its steps run on. Held: all that this card can have, which is nothing on one that is too
    old for kernels. None on a CPU."""
    model, measured = engine._scheduler.model, str(engine.numerics)
    if not on_card(model.device):
        return Line(f"{name}: it computes in", measured)
    there = {step: getattr(kernels.path, step) for step in proof.steps(model)}
    lacking = [kernels.STEPS[step] for step, used in there.items() if not used]
    old = too_old(model.device)
    if lacking:
        measured += ", as the card has no kernels" if old else f"; not in {', '.join(lacking)}"
    return Line(f"{name}: it computes in", measured, old or not lacking)


def too_old(device: torch.device) -> bool:
    """Whether it is a card that no kernels are compiled for."""
    here = card.at(device)
    return here is not None and here.capability < card.LEAST


def kv(engine) -> torch.Tensor:
    """The cache of all slots, [layers, slots, window, 2 x head_dim]."""
    return engine._scheduler.cache.kv[0]


def pace(engine):
    """The engine's Pace."""
    return engine._scheduler.pace


def reckoned_bytes(config, slots: int, device: str, kind: str | None) -> int:
    """What the program says, before it loads, that a model in bfloat16 takes."""
    needed = partial(
        bytes_needed, parse_config(config.to_dict(), "random"), slots, torch.device(device)
    )
    return needed(torch.bfloat16, kind) + RESERVE


def step(engine, positions: list[int], *, top: int = 0):
    """A step as the scheduler launches it, a row in each slot from the first on, and its result."""
    rows = [Row(TOKEN, slot, position) for slot, position in enumerate(positions)]
    return engine._scheduler.decode_step.decode(rows, greedy=True, penalised=False, top=top)


def plain_logits(engine, positions: list[int]) -> torch.Tensor:
    """The same step's logits from torch's own operators alone, [rows, vocabulary]."""
    model, count = engine._scheduler.model, len(positions)
    rows = torch.tensor([[TOKEN] * count, list(range(count)), positions], device=model.device)
    found, kernels.path = kernels.path, kernels.Path()
    try:
        return model.decode(*rows, [kv(engine)])
    finally:
        kernels.path = found


@torch.inference_mode()
def step_seconds(engine, rows: int, context: int, steps: int = 20) -> float:
    """Seconds of a step of `rows` chats whose contexts are so long, each read one step late."""
    late = None
    for number in range(WARM + steps):
        if number == WARM:
            late.read()
            started = time.perf_counter()
        drawn = step(engine, [context + number] * rows)
        if number > WARM:
            late.read()
        late = drawn
    late.read()
    return (time.perf_counter() - started) / steps


def compiled() -> int:
    """How many kernels this process has compiled or loaded."""
    from assistant.engine.model import triton_programs

    kernels = [getattr(value, "device_caches", {}) for value in vars(triton_programs).values()]
    return sum(len(cache[0]) for caches in kernels for cache in caches.values())
