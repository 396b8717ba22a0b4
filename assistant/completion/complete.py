"""complete(): a raw prompt goes in as it is, its continuation comes out as it is.

Knows no template and no roles. A raw prompt is what its author says it is (raw.py), and special
tokens in the continuation are shown as they are spelt.
"""

import dataclasses
from functools import partial

from assistant.completion.raw import Raw
from assistant.engine.protocol import Request
from assistant.errors import RequestError, TextError
from assistant.generation.generate import generate
from assistant.generation.reply import Reply
from assistant.generation.stops import StopScanner, resume
from assistant.generation.window import fit
from assistant.sampling import Sampling, check_logprobs, check_max_new_tokens, check_stops
from assistant.text import quoted

SAMPLES_MAX = 8

PRESETS = {  # name: (Sampling, one line on what it is for)
    "Exact": (Sampling(temperature=0), "always the likeliest token"),
    "Careful": (Sampling(temperature=0.2, top_p=0.95), "one good answer, such as code that runs"),
    "Varied": (Sampling(temperature=0.8, top_p=0.95), "several answers that differ"),
    "Wild": (Sampling(temperature=1.2, top_p=1.0, min_p=0.05), "surprises, by no means right"),
}


def complete(
    engine,
    prompt,
    *,
    sampling,
    max_new_tokens,
    stop=(),
    special=True,
    begun=(),
    logprobs=None,
    prompt_logprobs=None,
    wait_s=0.1,
):
    """The continuation of `prompt`, as a Reply, checked and submitted at the call.

    prompt: a str, a Raw, or a list of token ids, which is taken as it is. special: False reads
    special tokens that the prompt spells as text. begun: ids that stand behind the prompt already,
    such as a continuation so far or inspector.branch()'s: the Reply goes on from there and gives
    only what is new. logprobs, prompt_logprobs: as in Request; with the latter max_new_tokens may
    be 0. Raises RequestError, EngineBusy or EngineDead.
    """
    engine.check_room()
    least = 1 if prompt_logprobs is None else 0
    limit = check_max_new_tokens(max_new_tokens, engine.window, least)
    stops = check_stops(stop)
    ids = prompt_ids(prompt, engine.tokenizer, special=special)
    begun = check_ids(begun, engine.tokenizer)
    ids += begun
    ledger = fit(0, (), len(ids), limit, engine.window)
    sampling = sampling.seeded()
    request = Request(
        ids=tuple(ids),
        sampling=sampling,
        max_new_tokens=limit,
        stop_ids=frozenset({engine.tokenizer.eos_id}),
        logprobs=check_logprobs(logprobs),
        prompt_logprobs=check_logprobs(prompt_logprobs),
    )
    before = engine.tokenizer.decode(begun)
    scanner, held = resume(lambda: StopScanner(strings=stops), before)
    generation = generate(engine, request, scanner, wait_s=wait_s, held=held)
    return Reply(generation, ledger, sampling, stop=stops)


def prompt_ids(prompt, tokenizer, *, special=True):
    """The ids of a prompt: see complete(). Raises RequestError."""
    if isinstance(prompt, list):
        if not prompt:
            raise TextError("The prompt is empty.")
        return check_ids(prompt, tokenizer)
    raw = prompt if isinstance(prompt, Raw) else Raw(prompt)
    return raw.checked().ids(tokenizer, special=special)


def samples(engine, prompt, count, *, sampling, **options):
    """`count` continuations of one prompt, all submitted at once, as a list of Replies with the
    seeds seed, seed + 1, ... (a random first one where none was given). options: as of complete().

    Raises what complete() raises, and then none of them runs.
    """
    return at_once(
        partial(complete, engine, prompt, sampling=seeded, **options)
        for seeded in seeds(sampling, check_count("samples", count))
    )


def seeds(sampling, count):
    """`count` Samplings with the seeds seed, seed + 1, ...; a random first one where none is
    given. Raises SamplingError."""
    first = sampling.seeded()
    return [dataclasses.replace(first, seed=first.seed + n) for n in range(count)]


def at_once(asks):
    """The replies of `asks`, functions that submit one each; where one raises, none runs."""
    replies = []
    try:
        for ask in asks:
            replies.append(ask())
    except BaseException:
        for reply in replies:
            reply.close()
        raise
    return replies


def check_count(name, value, most=SAMPLES_MAX):
    """`value` as an int from 1 to `most`; sliders send floats. Raises RequestError."""
    if isinstance(value, bool) or value not in range(1, most + 1):
        raise RequestError(f"The number of {name} must be from 1 to {most}, not {quoted(value)}.")
    return int(value)


def check_ids(ids, tokenizer):
    """`ids`, which a page may have sent, as a list. Raises RequestError."""
    ids = list(ids) if isinstance(ids, (list, tuple)) else [None]
    if not all(type(token) is int and 0 <= token < len(tokenizer) for token in ids):
        raise RequestError(
            f"Token ids must be a list of whole numbers from 0 to {len(tokenizer) - 1}."
        )
    return ids
