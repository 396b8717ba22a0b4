"""How long a window is served: as long as was asked for, or as the memory that is free allows.

A model's positions are how many it was trained for; the KV cache of all of them can take far more
than its weights. Knows a Config and bytes; no files.
"""

import logging
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace

import torch

from assistant.engine.checkpoint.shapes import count_kv
from assistant.engine.device import RESERVE, WINDOW_STEP, on_card
from assistant.engine.model.config import Config
from assistant.errors import CheckpointError

log = logging.getLogger(__name__)

# Up to so many positions are all served, whatever memory is free: prompts of a few thousand tokens
# and long talks have room in them, so what comes beyond is worth memory only where there is much.
PLENTY = 8192
# The KV of all slots takes one part in so many of the free memory: weights, long prompts while
# they are read and other programs need the rest.
_PARTS = 3


def least_window(asked: int | None, config: Config, name: str) -> int:
    """The shortest window that is served: `asked` (--window) and no other, else what is served
    whatever memory is free. name: the model's. Raises CheckpointError."""
    if asked is None:
        return min(config.positions, PLENTY)
    if asked > config.positions:
        raise CheckpointError(
            f"--window {asked} is more than {name} was trained for: give at most the "
            f"{config.positions:,} positions that it has."
        )
    return asked


def choose_window(
    config: Config,
    least: int,
    slots: int,
    device: torch.device,
    dtype: torch.dtype,
    free: float,
    needed: Callable[[int], int],
) -> int:
    """All positions, or the largest multiple of WINDOW_STEP, for which the KV of all slots takes at
    most its part of `free` and everything fits; but at least `least`.

    dtype: of the KV. free: bytes on `device`. needed: the bytes that everything takes with a window
    of so many tokens.
    """
    held = slots + on_card(device)  # a card's cache has one slot more
    kv = held * count_kv(replace(config, window=1)) * dtype.itemsize  # bytes for each position

    def takes(window: int) -> int:
        return max(_PARTS * kv * window, needed(window) + RESERVE)

    if takes(config.positions) <= free:
        return config.positions
    steps = range(WINDOW_STEP, config.positions, WINDOW_STEP)
    return max(bisect_right(steps, free, key=takes) * WINDOW_STEP, least)


def with_window(config: Config, window: int, asked: int | None, name: str) -> Config:
    """`config` with that window; the log says so where the model knows more positions and nobody
    `asked` for fewer (--window)."""
    if window < config.positions and asked is None:
        log.warning(
            "%s has a window of %s tokens here, of the %s positions that it was trained for; "
            "--window sets another, and fewer --slots leave more room.",
            name,
            f"{window:,}",
            f"{config.positions:,}",
        )
    return replace(config, window=window)
