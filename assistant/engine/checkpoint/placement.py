"""Where a model lies: on one device, or where none alone can hold it, its layers on several.

Reckoned in bytes before anything is read. Knows sizes and free memory; no tensors.
"""

import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple, TypeVar

import torch

from assistant.engine import card
from assistant.engine.checkpoint.shapes import bytes_needed, shares
from assistant.engine.checkpoint.window import choose_window
from assistant.engine.device import (
    QUANTISED,
    RESERVE,
    WINDOW_STEP,
    choose_devices,
    choose_dtype,
    free_bytes,
    number_format,
    ways_out,
)
from assistant.engine.model.config import Config
from assistant.errors import CheckpointError
from assistant.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")


class Placement(NamedTuple):
    """choice, dtype: see choose_dtype. window: in tokens. device: of all but the layers, which have
    their own."""

    choice: str
    dtype: torch.dtype
    window: int
    device: torch.device
    layers: tuple[torch.device, ...]

    @property
    def kind(self) -> str | None:
        """The form that read_tensors is to give to weights that are not dense."""
        small = self.choice == "int4" or self.choice == "int8" and self.device.type != "cpu"
        return self.choice if small else None

    def split(self, tensors: Mapping[str, T]) -> dict[torch.device, dict[str, T]]:
        """`tensors`, by the names of shapes.py, as they are shared out."""
        parts: dict[torch.device, dict[str, T]] = {}
        for name, tensor in tensors.items():
            outer, _, rest = name.partition(".")
            device = self.layers[int(rest.split(".")[0])] if outer == "layers" else self.device
            parts.setdefault(device, {})[name] = tensor
        return parts


def place_layers(config: Config, settings: Settings, name: str, least: int) -> Placement:
    """Where the model that people know as `name` fits. least: the shortest window that is served,
    and on several devices the longest. Raises CheckpointError."""
    devices = choose_devices(settings.device)
    free = {device: free_bytes(device) for device in devices}
    slots = settings.slots

    def needed(slots: int, window: int, dtype: torch.dtype, choice: str) -> int:
        kind = choice if choice in QUANTISED else None
        return bytes_needed(replace(config, window=window), slots, device, dtype, kind)

    if len(devices) > 1:
        placement = _on_several(replace(config, window=least), settings, free, name)
        if {*placement.layers} != {placement.device}:
            return placement
        choice, dtype, device = placement.choice, placement.dtype, placement.device
    else:
        (device,) = devices
        choice, dtype = choose_dtype(
            *(settings.dtype, device, needed, free[device], name),
            slots=slots,
            window=least,
            half=card.half_dtype(card.at(device)),
        )
    window = settings.window or choose_window(
        *(config, least, slots, device, dtype, free[device]),
        lambda tokens: needed(slots, tokens, dtype, choice),
    )
    return Placement(choice, dtype, window, device, (device,) * config.layers)


def _on_several(
    config: Config,
    settings: Settings,
    free: Mapping[torch.device, float],
    name: str,
) -> Placement:
    """On the first card that holds all of it, in the numbers that it computes in; or in parts, in
    those that all of them do. free: bytes on cards, and on a CPU behind them."""
    slots = settings.slots
    halves = {device: card.half_dtype(card.at(device)) for device in free if device.type != "cpu"}
    for device, half in halves.items():
        if settings.dtype != "int4" or half is torch.bfloat16:
            choice, dtype = number_format(settings.dtype, device, half)
            if placement := _alone(config, slots, choice, dtype, device, free[device]):
                return placement
    # The one that decides: an older card, if there is one.
    device, half = min(halves.items(), key=lambda item: item[1] is torch.bfloat16)
    choice, dtype = number_format(settings.dtype, device, half)

    def most_slots(choice: str, dtype: torch.dtype) -> int:
        counts = range(1, slots + 1)
        return bisect_right(counts, False, key=lambda n: not _plan(config, n, choice, dtype, free))

    def longest(choice: str, dtype: torch.dtype) -> int:
        def too_long(window: int) -> bool:
            return not _plan(replace(config, window=window), slots, choice, dtype, free)

        shorter = range(WINDOW_STEP, config.window, WINDOW_STEP)
        return bisect_right(shorter, False, key=too_long) * WINDOW_STEP

    forms = ["float32", str(half).removeprefix("torch."), *QUANTISED]  # the widest first
    smaller = forms[(forms.index(choice) if choice in forms else 1) + 1 :]
    if placement := _plan(config, slots, choice, dtype, free):
        usable = [form for form in smaller if form != "int4" or half is torch.bfloat16]
        _tell(placement, name, usable)
        return placement
    ways = ways_out(most_slots, longest, choice, dtype, smaller, half, slots)
    share = shares(config, slots, dtype, choice if choice in QUANTISED else None)
    size, each = share.outer + config.layers * share.layer, share.beside + RESERVE
    rooms = [f"{room / 1e9:.1f} on {device}" for device, room in free.items()]
    raise CheckpointError(
        f"{name} needs {size / 1e9:.1f} GB of memory in {choice}, and {each / 1e9:.1f} GB more on "
        f"each device that holds a part of it; free are {', '.join(rooms)}: give {ways}."
    )


def _alone(
    config: Config,
    slots: int,
    choice: str,
    dtype: torch.dtype,
    device: torch.device,
    room: float,
) -> Placement | None:
    """On one card, if `room` bytes are enough."""
    kind = choice if choice in QUANTISED else None
    if bytes_needed(config, slots, device, dtype, kind) + RESERVE > room:
        return None
    return Placement(choice, dtype, config.window, device, (device,) * config.layers)


def _plan(
    config: Config,
    slots: int,
    choice: str,
    dtype: torch.dtype,
    free: Mapping[torch.device, float],
) -> Placement | None:
    kind = choice if choice in QUANTISED else None
    cards = [device for device in free if device.type != "cpu"]
    for device in cards:
        if placement := _alone(config, slots, choice, dtype, device, free[device]):
            return placement
    layer, outer, beside = shares(config, slots, dtype, kind)
    rooms = {device: room - RESERVE - beside for device, room in free.items()}
    first = next((device for device in cards if rooms[device] >= outer), None)
    if first is None:
        return None
    rooms[first] = min(
        rooms[first] - outer, (config.layers - 1) * layer
    )  # never all: _alone decides that
    places = fill([*rooms.values()], layer, config.layers)
    if places is None:
        return None
    return Placement(
        choice, dtype, config.window, first, tuple([*rooms][number] for number in places)
    )


def fill(rooms: Sequence[float], layer: int, count: int) -> list[int] | None:
    """Which of the `rooms` each of `count` layers is in, the first rooms first, or None where they
    are too small. rooms, layer: bytes."""
    from accelerate import infer_auto_device_map

    # It warns of every device that is not a card of this machine by its number.
    logging.getLogger("accelerate.utils.modeling").setLevel(logging.ERROR)
    layers = [
        torch.nn.Parameter(torch.empty(layer, dtype=torch.uint8, device="meta"), False)
        for _ in range(count)
    ]
    # On its device 0 it keeps room for layers that would come from others, as ours never do.
    limits = {0: 0} | {n: max(int(room), 0) for n, room in enumerate(rooms, 1)}
    found = infer_auto_device_map(torch.nn.ParameterList(layers), limits, clean_result=False)
    places = [found[str(n)] for n in range(count)]
    return None if "disk" in places else [place - 1 for place in places]


def _tell(placement: Placement, name: str, smaller: Sequence[str]) -> None:
    """smaller: number formats that take less."""
    parts = [f"{len([*layers])} on {device}" for device, layers in groupby(placement.layers)]
    log.info("%s: embedding and head on %s, layers: %s", name, placement.device, ", ".join(parts))
    on_cpu = sum(device.type == "cpu" for device in placement.layers)
    if on_cpu:
        log.warning(
            "The cards do not hold all of %s: %d of its %d layers are computed by the CPU, which "
            "takes much longer%s.",
            name,
            on_cpu,
            len(placement.layers),
            f"; --dtype {' or '.join(smaller)} needs less memory" if smaller else "",
        )
