"""The part that asks whether torch's int4 product reads a weight as it was packed, and how long it
takes: few rows by that product, many made dense first."""

import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from assistant.engine.device import use_card
from assistant.engine.model.int4 import FEW_ROWS, Packed, multiply, quantize
from benchmarks.gpu import inside
from benchmarks.gpu.place import Place
from benchmarks.report import Line

# [out, in]: StarCoder's up and down, SmolLM2's, whose 576 inputs are packed in fours of tiles, one
# in twos, and one that is filled up.
SHAPES = ((24576, 6144), (6144, 24576), (1536, 576), (272, 96), (100, 70))
SMALL_SHAPES = SHAPES[2:]
ROWS = (1, 3, 16, 17, FEW_ROWS, FEW_ROWS + 1, 512)
MOST = 1.6e-2  # of the largest value, as for the kernels in bfloat16
TIMES = 10


@torch.inference_mode()
def int4(place: Place) -> Iterator[Line]:
    """The product against float64, alone and in company, and its time beside a dense one's."""
    device = torch.device(place.device)
    if place.on_card:
        use_card(torch.zeros(1, device=device).device)
        if inside.too_old(device):
            yield Line("int4", "none, as this card has none", True)
            return
    for shape in SHAPES if place.on_card else SMALL_SHAPES:
        weight = _on_grid(*shape, device)
        packed = quantize(weight)
        x = torch.randn(max(ROWS), shape[1], device=device).bfloat16()
        exact = x.double() @ weight.double().T
        for count in ROWS:
            error = (multiply(x[:count], packed).double() - exact[:count]).abs().max()
            share = (error / exact.abs().max()).item()
            yield Line(f"{list(shape)}: {count} rows", f"error {share:.1e}", share <= MOST)
        whole = multiply(x[:FEW_ROWS], packed)
        same = all(torch.equal(multiply(x[:n], packed), whole[:n]) for n in (1, 2, 15, 16, 33))
        yield Line(f"{list(shape)}: a row is the same alone", "yes" if same else "no", same)
    for shape in SHAPES[:1] if place.on_card else SMALL_SHAPES[:1]:
        yield from _times(place, shape)


def _on_grid(out: int, width: int, device: torch.device) -> torch.Tensor:
    """A weight that quantising leaves as it is: every integer on one step, whatever the group."""
    draw = torch.Generator(device).manual_seed(out + width)
    integers = torch.randint(-8, 8, (out, width), device=device, generator=draw)
    integers[:, ::32], integers[:, 1::32] = -8, 7
    return (integers * 2.0**-6).bfloat16()


def _times(place: Place, shape: tuple[int, int]) -> Iterator[Line]:
    """Of either way for each number of rows: where they cross is where FEW_ROWS should be."""
    weight = torch.randn(shape, device=place.device).bfloat16()
    packed = quantize(weight)
    for count in ROWS:
        x = torch.randn(count, shape[1], device=place.device).bfloat16()
        ways = {"dense": lambda x=x: F.linear(x, weight)}
        if place.on_card:
            ways["int4"] = lambda x=x: _product(x, packed)
            ways["made dense"] = lambda x=x: multiply(x.repeat(FEW_ROWS // len(x) + 1, 1), packed)
        else:
            ways["int4"] = lambda x=x: multiply(x, packed)
        times = {name: f"{1e3 * _fastest(place, way):.3f} ms" for name, way in ways.items()}
        measured = ", ".join(f"{name} {seconds}" for name, seconds in times.items())
        yield Line(f"{list(shape)}: time of {count} rows", measured)


def _product(x: torch.Tensor, weight: Packed) -> torch.Tensor:
    product = torch.ops.aten._weight_int4pack_mm
    return product(x, weight.values, weight.group, weight.grids)


def _fastest(place: Place, compute) -> float:
    times = []
    for _ in range(1 + TIMES):
        started = time.perf_counter()
        compute()
        if place.on_card:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])
