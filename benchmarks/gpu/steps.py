"""The parts that look at a decode step: captured graphs against plain operators, and whether
anything in it waits for the card."""

import contextlib
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from assistant.engine.protocol import Finished, Piece, Request
from assistant.sampling import Sampling
from benchmarks.gpu import inside
from benchmarks.gpu.place import Place, opened
from benchmarks.gpu.weights import geometry, random_checkpoint, random_module
from benchmarks.report import Line

LAYERS = 2  # of StarCoder's own shapes: each layer is like the others
ROWS = (1, 3, 16, 17)
SLOTS = 20  # more than a guessing step has rows, so that graphs of more are captured, too
FARTHEST = {"float32": 1e-3, "bfloat16": 0.1, "int8": 0.1}  # log-probabilities, in nats
STEPS = 20
SAID = "called a synchronizing"  # by torch, of a call that waits


@contextlib.contextmanager
def few_layers(place: Place, dtype: str, **options) -> Iterator:
    """An engine on LAYERS layers of StarCoder in `dtype`, and its vocabulary."""
    config = geometry(place, slots=SLOTS, layers=LAYERS)
    dense = torch.float32 if dtype == "float32" else torch.bfloat16
    checkpoint = random_checkpoint(random_module(config, place.device, dense), dtype)
    with opened(lambda: checkpoint, slots=SLOTS, **options) as engine:
        yield engine, config.vocab_size


def graphs(place: Place) -> Iterator[Line]:
    """A captured step against the same rows by plain operations; what it leaves alone."""
    for dtype, most in FARTHEST.items():
        with few_layers(place, dtype) as (engine, vocabulary), torch.inference_mode():
            inside.kv(engine).normal_()
            yield inside.computes_in(engine, dtype)
            captured = ", ".join(map(str, inside.graphs(engine)))
            yield Line(f"{dtype}: steps are captured for", f"{captured or 'no'} rows")
            for count in ROWS:
                yield _graph(engine, count, vocabulary, dtype, most)


def _graph(engine, count: int, vocabulary: int, dtype: str, most: float) -> Line:
    positions = [(engine.window - 1) * (row + 1) // count for row in range(count)]
    others = inside.kv(engine)[:, count:SLOTS].clone()
    drawn = inside.step(engine, positions, top=vocabulary).read()
    left_alone = torch.equal(inside.kv(engine)[:, count:SLOTS], others)
    expected = inside.plain_logits(engine, positions).log_softmax(-1).cpu()
    given = torch.full_like(expected, torch.nan)
    for row, (_, (_, top)) in zip(given, drawn, strict=True):
        ids, scores = zip(*top, strict=True)
        row[list(ids)] = torch.tensor(scores)
    error = (given - expected).abs().max().item()  # NaN for one that is
    likeliest = expected.argmax(-1).tolist()
    same = sum(token == best for (token, _), best in zip(drawn, likeliest, strict=True))
    measured = f"at most {error:.1e} nats of {most:.0e} apart, {same} of {count} tokens the same"
    measured += "" if left_alone else "; it has changed other slots"
    return Line(f"{dtype}: {count} rows", measured, error <= most and left_alone)


def syncs(place: Place) -> Iterator[Line]:
    """Calls that wait for the card, in the steps of replies that are being written."""
    penalised = Sampling(temperature=0.8, seed=1, repetition_penalty=1.2)
    kinds = {
        "greedy": (Sampling(temperature=0), None),
        "penalty, sampling and log-probabilities": (penalised, 5),
    }
    for drafts in (False, True) if place.on_card else (True,):
        guessing = "guessing" if drafts else "not guessing"
        with few_layers(place, "bfloat16", drafts=drafts) as (engine, _):
            yield inside.computes_in(engine, guessing)
            for name, (sampling, logprobs) in kinds.items():
                for chats in (1, 3):
                    requests = [
                        Request((30 + n, 40), sampling, engine.window - 10, logprobs=logprobs)
                        for n in range(chats)
                    ]
                    found = _waits(engine, requests)
                    what = f"{chats} chats, {guessing}, {name}"
                    measured = f"{_places(found)} in {STEPS} steps"
                    held = not found if place.on_card else None
                    yield Line(f"calls that wait for the card: {what}", measured, held)
            yield _admission(engine)


def _waits(engine, requests) -> Counter:
    """Where the engine waits while all of them are being written."""
    streams = [engine.generate(one) for one in requests]
    try:
        for stream in streams:
            _tokens(stream, STEPS)
        with _told() as found:
            for stream in streams:
                next(stream)  # what was there before
            for stream in streams:
                _tokens(stream, STEPS)
    finally:
        for stream in streams:
            stream.close()
        _idle(engine)
    return found


def _admission(engine) -> Line:
    with _told() as found:
        list(engine.generate(Request(tuple(range(30, 90)), Sampling(temperature=0), 1)))
        _idle(engine)
    return Line("calls that wait for the card when a chat is admitted", _places(found))


@contextlib.contextmanager
def _told() -> Iterator[Counter]:
    """torch's warnings of such calls inside, by file and line."""
    found = Counter()

    def note(message, category, filename, lineno, *_):
        if SAID in str(message):
            found[f"{Path(filename).name}:{lineno}"] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        _debug("warn")
        try:
            yield found
        finally:
            _debug("default")


def _debug(mode: str) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode(mode)


def _places(found: Counter) -> str:
    return ", ".join(f"{place} {count} times" for place, count in found.items()) or "none"


def _tokens(stream, count: int) -> None:
    """Read until so many tokens more are there."""
    for item in stream:
        count -= len(item.ids) if isinstance(item, Piece) else 0
        if count <= 0:
            return
        assert not isinstance(item, Finished), f"it ended: {item}"


def _idle(engine) -> None:
    while engine.status().running:
        time.sleep(0.001)
