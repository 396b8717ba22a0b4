"""complete(): a raw prompt goes in as it is, its continuation comes out as it is.

Knows no template and no roles. A raw prompt is what its author says it is (raw.py), and special
tokens in the continuation are shown as they are spelt.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from assistant.completion.raw import Raw
from assistant.engine.protocol import Engine, Request, Tokenizer
from assistant.errors import RequestError, TextError
from assistant.generation.ends import NO_ENDS, Ends
from assistant.generation.generate import generate
from assistant.generation.reply import Reply
from assistant.generation.stops import StopScanner, resume
from assistant.generation.window import fit
from assistant.sampling import SEED_MAX, Sampling, check_logprobs, check_max_new_tokens, check_stops
from assistant.text import quoted

SAMPLES_MAX = 8

Prompt: TypeAlias = str | Raw | list[int]  # ids are taken as they are

PRESETS = {  # name: (Sampling, one line on what it is for)
    "Exact": (Sampling(temperature=0), "always the likeliest token"),
    "Careful": (Sampling(temperature=0.2, top_p=0.95), "one good answer, such as code that runs"),
    "Varied": (Sampling(temperature=0.8, top_p=0.95), "several answers that differ"),
    "Wild": (Sampling(temperature=1.2, top_p=1.0, min_p=0.05), "surprises, by no means right"),
}


def complete(
    engine: Engine,
    prompt: Prompt,
    *,
    sampling: Sampling,
    max_new_tokens: int,
    stop: Sequence[str] | None = (),
    special: bool = True,
    begun: Sequence[int] = (),
    logprobs: int | None = None,
    prompt_logprobs: int | None = None,
    ends: Ends = NO_ENDS,
    cut: bool = False,
    wait_s: float = 0.1,
) -> Reply:
    """The continuation of `prompt`, checked and submitted at the call.

    special: False reads special tokens that the prompt spells as text. begun: ids that stand
    behind the prompt already, such as a continuation so far or inspector.branch()'s: the Reply goes
    on from there and gives only what is new. logprobs, prompt_logprobs: as in Request; with the
    latter max_new_tokens may be 0. ends: what else ends it. cut: whether more tokens than the
    prompt leaves room for are asked for as what it leaves. Raises RequestError, EngineBusy or
    EngineDead.
    """
    engine.check_room()
    least = 1 if prompt_logprobs is None else 0
    limit = check_max_new_tokens(max_new_tokens, engine.window, least)
    stops = check_stops(stop)
    ids = prompt_ids(prompt, engine.tokenizer, special=special)
    begun = check_ids(begun, engine.tokenizer)
    ids += begun
    if cut and len(ids) < engine.window:
        limit = min(limit, engine.window - len(ids))
    ledger = fit(0, (), len(ids), limit, engine.window)
    sampling = sampling.seeded()
    request = Request(
        ids=tuple(ids),
        sampling=sampling,
        max_new_tokens=limit,
        stop_ids=engine.tokenizer.end_ids,
        logprobs=check_logprobs(logprobs),
        prompt_logprobs=check_logprobs(prompt_logprobs),
    )
    before = engine.tokenizer.decode(begun)
    scanner, held = resume(lambda: StopScanner(strings=stops), before)
    request = ends.applied(request, engine)
    generation = generate(engine, request, scanner, wait_s=wait_s, held=held)
    return Reply(generation, ledger, sampling, stop=stops)


def prompt_ids(prompt: Prompt, tokenizer: Tokenizer, *, special: bool = True) -> list[int]:
    """The ids of a prompt: see complete(). Raises RequestError."""
    if isinstance(prompt, list):
        if not prompt:
            raise TextError("The prompt is empty.")
        return check_ids(prompt, tokenizer)
    raw = prompt if isinstance(prompt, Raw) else Raw(prompt)
    return raw.checked().ids(tokenizer, special=special)


def samples(
    engine: Engine, prompt: Prompt, count: int, *, sampling: Sampling, **options: Any
) -> list[Reply]:
    """`count` continuations of one prompt, all submitted at once, with the seeds seed,
    seed + 1, ... (a random first one where none was given). options: as of complete().

    Raises what complete() raises, and then none of them runs.
    """
    return at_once(
        partial(complete, engine, prompt, sampling=seeded, **options)
        for seeded in seeds(sampling, check_count("samples", count))
    )


def seeds(sampling: Sampling, count: int) -> list[Sampling]:
    """`count` Samplings with the seeds seed, seed + 1, ...; a random first one where none is
    given. Raises SamplingError."""
    first = cast(int, sampling.seeded().seed)
    return [dataclasses.replace(sampling, seed=(first + n) % (SEED_MAX + 1)) for n in range(count)]


class _Running(Protocol):
    def close(self) -> None: ...


_R = TypeVar("_R", bound=_Running)


def at_once(asks: Iterable[Callable[[], _R]]) -> list[_R]:
    """The replies of `asks`, functions that submit one each; where one raises, none runs."""
    replies: list[_R] = []
    try:
        for ask in asks:
            replies.append(ask())
    except BaseException:
        for reply in replies:
            reply.close()
        raise
    return replies


def check_count(name: str, value: object, most: int = SAMPLES_MAX) -> int:
    """`value` as an int from 1 to `most`; sliders send floats. Raises RequestError."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or value not in range(1, most + 1):
        raise RequestError(f"The number of {name} must be from 1 to {most}, not {quoted(value)}.")
    return int(cast(float, value))


def check_ids(ids: object, tokenizer: Tokenizer) -> list[int]:
    """`ids`, which a page may have sent, as a list. Raises RequestError."""
    if not isinstance(ids, (list, tuple)) or not all(
        type(token) is int and 0 <= token < len(tokenizer) for token in ids
    ):
        raise RequestError(
            f"Token ids must be a list of whole numbers from 0 to {len(tokenizer) - 1}."
        )
    return list(ids)
