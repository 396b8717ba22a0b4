"""The parts that take minutes: many chats at once, and transformers' own engines beside ours.

All chats of a table begin with the same tokens, as those of one prompt template do: these are
computed once. Each chat has its own copy of their keys and values, so a step reads as much as
without.
"""

import random
import statistics
import sys
import time
from collections.abc import Iterator

from assistant.engine.protocol import Request
from benchmarks import promises, speed
from benchmarks.contenders import GREEDY, Ours, follow
from benchmarks.gpu.place import OVER, Place, opened
from benchmarks.gpu.weights import geometry, random_checkpoint, random_module
from benchmarks.machine import bandwidth
from benchmarks.report import Line
from benchmarks.timeline import decode_rate, median, percentile
from benchmarks.with_transformers import Continuous, Generate

CHATS, CONTEXT, NEW = (1, 2, 4, 8, 16, 32, 64, 128), 6000, 128
SMALL_CHATS, SMALL_CONTEXT, SMALL_NEW = (1, 2), 150, 8
OWN = 32  # tokens of a chat behind the ones in common
TURN = 100  # tokens of a next message
CELLS = ((1, 512), (1, 2000), (1, 6000), (4, 512), (4, 2000), (16, 512), (16, 2000))
SMALL_CELLS = ((1, 64),)
NEXT_S = 15  # with less left nothing more is begun
NO_TIME = f"{speed.NOT_MEASURED}: {OVER}"


def chats(place: Place) -> Iterator[Line]:
    """Tokens a second of 1 to 128 chats at once, and the waits for first and next tokens."""
    counts = CHATS if place.on_card else SMALL_CHATS
    context, new = (CONTEXT, NEW) if place.on_card else (SMALL_CONTEXT, SMALL_NEW)
    rate = bandwidth() if place.on_card else None
    slots = max(*counts, promises.OTHERS + 1)
    config = geometry(place, slots=slots)
    checkpoint = random_checkpoint(random_module(config, place.device))
    with opened(lambda: checkpoint, slots=slots) as engine:
        ours, chance = Ours(engine, "bfloat16"), random.Random(4)
        vocabulary = config.vocab_size
        yield from _waits(engine, chance, vocabulary, context)
        (prefix,) = speed.random_prompts(chance, 1, context, vocabulary)
        engine.pin(tuple(prefix))
        yield _warm(engine, chance, vocabulary, prefix)
        for count in counts:
            if place.left_s < NEXT_S:
                return (yield Line(f"{count} chats at once, and more", NO_TIME))
            own = speed.random_prompts(chance, count, OWN, vocabulary)
            found = decode_rate(ours.run([prefix + tail for tail in own], new))
            measured = speed.NOT_MEASURED
            if found:
                measured = f"{found:,.0f} tokens/s, {found / count:.1f} of each"
            if found and rate:
                share = speed.share(ours, (count, context), found, rate)
                measured += f", {share:.0%} of the bandwidth"
            yield Line(f"{count} chats at once, context {context:,}", measured)


def _first_s(engine, ids) -> float:
    reply, _ = follow(engine.generate(Request(tuple(ids), GREEDY, 1)), time.perf_counter())
    return reply.times[0]


def _waits(engine, chance: random.Random, vocabulary: int, length: int) -> Iterator[Line]:
    """A cold prompt alone, and one that comes while others are written."""
    alone = [
        _first_s(engine, *speed.random_prompts(chance, 1, length, vocabulary)) for _ in range(3)
    ]
    measured = ", ".join(f"{1e3 * seconds:.0f}" for seconds in alone)
    yield Line(f"{length:,} tokens, cold: to the first token", f"{measured} ms")
    short = min(promises.CONTEXT, length // 3)
    others = speed.random_prompts(chance, promises.OTHERS, short, vocabulary)
    (newcomer,) = speed.random_prompts(chance, 1, length, vocabulary)
    before, during, seconds = promises.admit(engine, others, newcomer)
    gaps = [f"{1e3 * (percentile(during, part) or 0):.1f}" for part in (0.5, 0.99, 1)]
    yield Line(
        f"the same beside {promises.OTHERS} that are written",
        f"{1e3 * seconds:.0f} ms; their gaps meanwhile {gaps[0]} ms (p50), {gaps[1]} (p99), "
        f"{gaps[2]} (longest), before {1e3 * (median(before) or 0):.1f} (p50)",
    )


def _warm(engine, chance: random.Random, vocabulary: int, prefix: list[int]) -> Line:
    turns = speed.random_prompts(chance, 3, min(TURN, len(prefix) // 2), vocabulary)
    times = [_first_s(engine, prefix + turn) for turn in turns]
    what = f"{len(turns[0])} tokens behind {len(prefix):,} known ones: to the first token"
    return Line(what, f"{1e3 * statistics.median(times):.1f} ms")


def peers(place: Place) -> Iterator[Line]:
    """The engine beside transformers' `generate` and continuous batching, on the same weights."""
    cells = CELLS if place.on_card else SMALL_CELLS
    new = NEW if place.on_card else SMALL_NEW
    rate = bandwidth() if place.on_card else 1e12
    slots = max(batch for batch, _ in cells)
    config = geometry(place, slots=4 * slots)  # the peers need memory, too
    module = random_module(config, place.device)
    with opened(lambda: random_checkpoint(module), slots=slots) as engine:
        contenders = [Ours(engine, "bfloat16"), Generate(module), Continuous(module)]
        options = {
            "repeat": 1,
            "new_tokens": new,
            "vocabulary": config.vocab_size,
            "say": lambda text: print(text, file=sys.stderr),
            "settled": lambda measured: measured(),  # a step does not wait for the processor
        }
        for contender in contenders:
            for cell in cells:
                if place.left_s < NEXT_S:
                    return (yield Line(f"{contender.name}, {cell[0]} at once, and more", NO_TIME))
                table = speed.measure([contender], [cell], **options)
                times = table[cell].get(contender.name, speed.Times())
                first = speed.first_cell(times)
                text = speed.decode_cell(times, contender, cell, rate)
                what = f"{contender.name}, {cell[0]} at once, context {cell[1]:,}"
                yield Line(what, f"{text} tokens/s; to the first token {first} ms")
