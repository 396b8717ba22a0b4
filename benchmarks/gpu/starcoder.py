"""The parts that measure StarCoder's geometry: memory, steps, and prompts of many lengths."""

import gc
import random
import statistics
from collections.abc import Iterator

import torch

from assistant.engine.device import QUANTISED
from assistant.engine.protocol import Request
from benchmarks.contenders import GREEDY
from benchmarks.gpu import inside
from benchmarks.gpu.place import Place, opened
from benchmarks.gpu.steps import few_layers
from benchmarks.gpu.weights import geometry, random_checkpoint, random_module
from benchmarks.machine import bandwidth
from benchmarks.report import Line
from benchmarks.sizes import BYTES, kv_values, streamed_weights
from tests.support.reading import read

ROWS, CONTEXTS = (1, 2, 16, 64), (100, 6000)
SMALL_ROWS, SMALL_CONTEXTS = (1, 4), (10, 100)
PROMPTS, LONGEST = 50, 2000  # tokens
LONGER = 1.5  # times as long as the second time: a length that was prepared for when it came
ALIKE = 1.3  # the pace's idea of a step against what one takes


def free_bytes(place: Place) -> int:
    """Of the card's memory, with all that this process has for nothing given back."""
    if not place.on_card:
        return 0
    gc.collect()
    torch.zeros(1, device=place.device)  # the context is there from here on
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


def starcoder(place: Place) -> Iterator[Line]:
    """Memory against what is reckoned before loading; step times, and the bandwidth they reach."""
    rate = bandwidth() if place.on_card else None
    if rate:
        yield Line("the card's memory is copied", f"{rate / 1e9:,.0f} GB/s, read and written")
    rows = ROWS if place.on_card else SMALL_ROWS
    for dtype in ("bfloat16", "int8", *(["int4"] if place.on_card else [])):
        yield from _measured(place, dtype, rows, rate)


def _measured(place: Place, dtype: str, rows: tuple[int, ...], rate: float | None):
    slots, free = max(rows), free_bytes(place)
    config = geometry(place, slots=slots)
    load = random_checkpoint(random_module(config, place.device), dtype)
    with opened(lambda: load, slots=slots) as engine:
        yield inside.computes_in(engine, dtype)
        with torch.inference_mode():
            inside.kv(engine).zero_()
        reads = streamed_weights(config) * BYTES[dtype], kv_values(config) * BYTES["bfloat16"]
        alone = None
        for count in rows:
            for context in CONTEXTS if place.on_card else SMALL_CONTEXTS:
                seconds = inside.step_seconds(engine, count, context)
                alone = alone or seconds
                measured = f"{1e3 * seconds:.2f} ms, {count / seconds:,.0f} tokens/s"
                if rate:
                    read_bytes = reads[0] + reads[1] * context * count
                    measured += f", {read_bytes / seconds / rate:.0%} of the bandwidth"
                yield Line(f"{dtype}: a step of {count} rows, context {context:,}", measured)
        yield _pace(place, dtype, inside.pace(engine), alone)
        taken = (free - free_bytes(place)) / 1e9
        reckoned = (
            inside.reckoned_bytes(
                config, slots, place.device, dtype if dtype in QUANTISED else None
            )
            / 1e9
        )
        yield Line(
            f"{dtype}: memory of {config.n_layer} layers and {slots} slots",
            f"{taken:.2f} GB taken, {reckoned:.2f} GB reckoned",
            taken <= reckoned if place.on_card else None,
        )


def _pace(place: Place, dtype: str, pace, step_s: float) -> Line:
    chunks = [pace.tokens(start) for start in CONTEXTS]
    measured = (
        f"a step takes {1e3 * pace.decode_s:.2f} ms (measured {1e3 * step_s:.2f}); chunks of "
        f"{chunks[0]} tokens beside others, {chunks[1]} behind {CONTEXTS[1]:,}, "
        f"{pace.tokens(0, alone=True)} alone"
    )
    held = 1 / ALIKE < pace.decode_s / step_s < ALIKE if place.on_card else None
    return Line(f"{dtype}: what the pace has measured", measured, held)


def prompts(place: Place) -> Iterator[Line]:
    """Prompts of different lengths one after another, and others of the same lengths: whether a
    length costs more the first time, and whether kernels are compiled for it."""
    chance = random.Random(5)
    count = PROMPTS if place.on_card else 10
    for dtype in ("bfloat16", "int8"):
        with few_layers(place, dtype) as (engine, vocabulary):
            lengths = chance.sample(range(1, min(LONGEST, engine.window - 1)), count)
            before = inside.compiled() if place.on_card else 0
            first, second = (
                [_first_token(engine, chance, length, vocabulary) for length in lengths]
                for _ in range(2)
            )
            more = inside.compiled() - before if place.on_card else 0
        yield Line(f"{dtype}: kernels compiled for {count} lengths", str(more), more == 0)
        ratio = statistics.median(a / b for a, b in zip(first, second, strict=True))
        slowest, length = max(zip(first, lengths, strict=True))
        yield Line(
            f"{dtype}: the first prompt of a length takes as long as the second",
            f"{ratio:.2f} times (medians {1e3 * statistics.median(first):.1f} and "
            f"{1e3 * statistics.median(second):.1f} ms to the first token; the slowest "
            f"{1e3 * slowest:.0f} ms, {length} tokens)",
            ratio < LONGER if place.on_card else None,
        )


def _first_token(engine, chance: random.Random, length: int, vocabulary: int) -> float:
    ids = tuple(chance.randrange(19, vocabulary) for _ in range(length))
    return read(engine.generate(Request(ids, GREEDY, 1)))[2].ttft_s
