"""The parts that try one operation at a time: the decode step's kernels, prefill's attention."""

import time
from collections.abc import Iterator

import torch

from assistant.engine.card import why_no_kernels
from assistant.engine.device import use_card
from assistant.engine.model import attention
from benchmarks.gpu import inside
from benchmarks.gpu.place import OVER, Place
from benchmarks.report import Line
from tests.support import kernel_checks

SHAPES = ((1, 1), (4, 4), (512, 512), (1, 33), (16, 8192), (512, 8192))  # (new tokens, all)
SMALL_SHAPES = ((1, 1), (4, 4), (1, 33), (16, 200))
# Of the largest value; bfloat16, which a card computes in, first.
PREFILL = {torch.bfloat16: 1.6e-2, torch.float16: 2e-3, torch.float32: 2e-5}
NEXT_S = 5  # with less left no further check is begun: it may have to be compiled
TIMES = 5
AT_ONCE = 8  # heads whose scores stand there in float64: 270 MB for 512 x 8192


def kernels(place: Place) -> Iterator[Line]:
    """Each kernel against plain torch in float64; on a CPU, in the interpreter, once."""
    if place.on_card:
        device = torch.device(place.device)
        lacking, old = why_no_kernels(device), inside.too_old(device)
        said = f"none, as this card has none: {lacking}" if old else lacking
        yield Line("kernels can be tried", said or "nothing is lacking", old or lacking is None)
        if lacking:
            return
    tried = dict(kernel_checks.TRIED)
    if not place.on_card:
        tried = {check: given[-1:] for check, given in list(tried.items())[:4]}
    for check, given in tried.items():
        yield _tried(place, check, given)
        if place.on_card:
            torch.zeros(1, device=place.device).item()  # fails where the card's context is lost


def _tried(place: Place, check, given: list[tuple]) -> Line:
    started, wrong, count = time.perf_counter(), [], 0
    for arguments in given:
        if place.left_s < NEXT_S:
            break
        count += 1
        try:
            with kernel_checks.nan_in_new_memory():
                check(*arguments)
        except Exception as error:  # also those of Triton's compiler
            text = str(error).strip() or type(error).__name__
            wrong.append(f"{arguments}: {text.splitlines()[0][:100]}")
    cut = count < len(given)
    right = f"nothing wrong in those: {OVER}" if cut else "right"
    found = "; ".join(wrong[:3]) if wrong else right
    measured = f"{count} of {len(given)} tried, {found} ({time.perf_counter() - started:.1f} s)"
    if not count:
        measured = f"not tried: {OVER}"
    held = None if cut and not wrong else not wrong
    return Line(check.__name__.replace("_", " "), measured, held)


@torch.inference_mode()
def prefill(place: Place) -> Iterator[Line]:
    """Prefill's attention against float64, and the time of a layer's."""
    heads, head_dim = kernel_checks.STARCODER if place.on_card else (2, 32)
    if place.on_card:
        use_card(torch.zeros(1, device=place.device).device)
    for dtype, most in PREFILL.items():
        for tokens, length in SHAPES if place.on_card else SMALL_SHAPES:
            draw = torch.Generator(place.device).manual_seed(tokens + length)
            options = {"device": place.device, "generator": draw}
            query = torch.randn(tokens, heads, head_dim, **options).to(dtype)
            kv = torch.randn(length, 2, head_dim, **options).to(dtype)
            out, first_s, seconds = _timed(place, query, kv, head_dim**-0.5)
            exact = _exact(query, kv, head_dim**-0.5)
            error = ((out.double() - exact).abs().max() / exact.abs().max()).item()
            measured = f"error {error:.1e} of {most:.0e}, {1e3 * seconds:.3f} ms"
            measured += f" (the first time {1e3 * first_s:.0f})"
            kind = str(dtype).removeprefix("torch.")
            yield Line(f"{tokens} of {length} positions in {kind}", measured, error <= most)


def _timed(place: Place, query, kv, scale: float):
    """(result, seconds of the first call, seconds of the fastest of some more)."""
    times = []
    for _ in range(1 + TIMES):
        started = time.perf_counter()
        out = attention.prefill(query, kv, attention.Shape(scale))
        if place.on_card:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return out, times[0], min(times[1:])


def _exact(query, kv, scale: float):
    """attention.prefill's result in float64."""
    tokens, length = len(query), len(kv)
    key, value = kv.double().unbind(1)
    ahead = torch.ones(tokens, length, dtype=torch.bool, device=kv.device).triu(length - tokens + 1)
    parts = []
    for part in query.double().split(AT_ONCE, dim=1):
        scores = (part.transpose(0, 1) @ key.T * scale).masked_fill(ahead, -torch.inf)
        parts.append((scores.softmax(-1) @ value).transpose(0, 1))
    return torch.cat(parts, dim=1)
