"""The parts that read what engines write: that every path runs, and that the text is the oracle's.

The oracle is transformers' module of the same checkpoint in float32 on the CPU.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import torch

from assistant.engine.protocol import Request
from assistant.errors import AssistantError
from assistant.sampling import Sampling
from benchmarks.chats import examples, prompt_ids
from benchmarks.gpu import inside
from benchmarks.gpu.place import Place, loading, opened
from benchmarks.report import Line
from tests.support.checkpoints import VOCAB_SIZE, make_checkpoint
from tests.support.engines import load_module
from tests.support.reading import greedy as request
from tests.support.reading import read

SLOTS = 8
CHATS = (1, 5, 8)
NEW, SMALL_NEW = 48, 12  # tokens
FEW = (20, 21, 22)  # all tokens that a reply may have that repeats itself
TIE = 1e-3  # of a logit: below it two tokens are equally likely in float32
PENALTY = 1.3


def tiny(place: Place) -> Path:
    """A small random checkpoint's folder."""
    return make_checkpoint(place.folder / "tiny")


def prompts(count: int, most: int = 180, seed: int = 2) -> list[list[int]]:
    chance = random.Random(seed)
    return [
        [chance.randrange(19, VOCAB_SIZE) for _ in range(chance.randint(1, most))]
        for _ in range(count)
    ]


def new_tokens(place: Place) -> int:
    """How long replies are."""
    return NEW if place.on_card else SMALL_NEW


# -- every path runs ------------------------------------------------------------------------------


def small(place: Place) -> Iterator[Line]:
    """All kinds of requests at once, in all number formats."""
    folder = tiny(place)
    formats = ["float32", "bfloat16", "int8"] + ["float16"] * place.on_card
    for model in (folder, "embedded"):
        for dtype in formats if place.on_card or model == folder else ["auto"]:
            name = f"{'tiny' if model == folder else model}, {dtype}"
            try:
                with opened(loading(place, model, dtype), drafts=True) as engine:
                    yield inside.computes_in(engine, name)
                    count, tokens = _all_kinds(engine, new_tokens(place))
                yield Line(name, f"{count} requests, {tokens} tokens", True)
            except (AssistantError, AssertionError) as error:
                yield Line(name, str(error), False)


def _all_kinds(engine, new: int) -> tuple[int, int]:
    """How many requests were served to their end, and how many tokens they wrote. Raises
    AssertionError where a reply is not what it should be."""
    first, second, third, *_ = prompts(3)
    window = (third * engine.window)[: min(engine.window, 600) - new]
    drawn = Sampling(temperature=0.8, top_p=0.9, top_k=20, seed=1)
    penalised = Sampling(temperature=0, repetition_penalty=PENALTY)
    requests = [
        request(first, new),
        request(window, new),
        request(second, new, cold=True),
        request(second, new, logprobs=5),
        request(third, new, prompt_logprobs=3),
        Request(tuple(first), drawn, new),
        Request(tuple(first), drawn, new, logprobs=20, cold=True),
        Request(tuple(second), penalised, new),
        Request(tuple(third), Sampling(seed=3), new, banned_ids=frozenset({*FEW})),
    ]
    streams = [engine.generate(one) for one in requests]
    tokens = 0
    for one, stream in zip(requests, streams, strict=True):
        _, ids, finished = read(stream)
        assert len(ids) == new and finished.reason == "length", f"{one} ended as {finished}"
        assert all(0 <= token < len(engine.tokenizer) for token in ids), f"ids {ids}"
        assert not set(ids) & one.banned_ids, "a banned token was drawn"
        for logprob in finished.prompt_logprobs or ():
            assert logprob is None or logprob.logprob <= 0, f"{logprob}"
        tokens += len(ids)
    return len(requests), tokens


# -- the text is the oracle's ---------------------------------------------------------------------


class Oracle:
    """What transformers writes greedily."""

    def __init__(self, folder: Path, new: int):
        self.module, self.new = load_module(folder), new

    def __call__(self, ids: list[int], **options) -> list[int]:
        given = torch.tensor([ids])
        mask = torch.ones_like(given)
        options = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None} | options
        out = self.module.generate(given, attention_mask=mask, max_new_tokens=self.new, **options)
        return out[0, len(ids) :].tolist()

    @torch.inference_mode()
    def apart(self, ids: list[int], expected: list[int], given: list[int]) -> str | None:
        """Where two replies part, None where they do not: also where the next token is a tie."""
        if given == expected:
            return None
        pairs = enumerate(zip(expected, given, strict=False))
        at = next((at for at, (a, b) in pairs if a != b), min(len(expected), len(given)))
        if at >= min(len(expected), len(given)):
            return f"ends after {len(given)} of {len(expected)} tokens"
        scores = self.module(torch.tensor([ids + expected[:at]])).logits[0, -1]
        gap = (scores[expected[at]] - scores[given[at]]).item()
        return f"parts at token {at}, {gap:.1e} below" if abs(gap) > TIE else None


def _compared(name: str, oracle: Oracle, requests, expected, given) -> Line:
    pairs = zip(requests, expected, given, strict=True)
    wrong = [f"chat {n} {text}" for n, p in enumerate(pairs) if (text := oracle.apart(*p))]
    tokens = sum(map(len, given))
    measured = "; ".join(wrong[:3]) if wrong else f"{len(given)} chats, {tokens} tokens, the same"
    return Line(name, measured, not wrong)


def _together(engine, requests) -> list[list[int]]:
    streams = [engine.generate(one) for one in requests]
    return [read(stream)[1] for stream in streams]


def greedy(place: Place) -> Iterator[Line]:
    """The engine's greedy text in float32 against transformers'."""
    folder, ids, new = tiny(place), prompts(SLOTS), new_tokens(place)
    oracle = Oracle(folder, new)
    expected = [oracle(one) for one in ids]
    for drafts in (False, True) if place.on_card else (True,):
        guessing = "guessing" if drafts else "not guessing"
        with opened(loading(place, folder, "float32"), drafts=drafts) as engine:
            yield inside.computes_in(engine, guessing)
            for count in CHATS:
                given = _together(engine, [request(one, new) for one in ids[:count]])
                name = f"{count} chats, {guessing}"
                yield _compared(name, oracle, ids[:count], expected[:count], given)
            yield from _special(engine, oracle, ids, expected, guessing)
    yield from _embedded(place)


def _special(engine, oracle: Oracle, ids, expected, guessing: str) -> Iterator[Line]:
    new = oracle.new
    cold = _together(engine, [request(one, new, cold=n % 2 == 0) for n, one in enumerate(ids)])
    yield _compared(f"every second one cold, {guessing}", oracle, ids, expected, cold)

    few = ids[:3]
    told = [oracle(one, repetition_penalty=PENALTY) for one in few]
    penalised = Sampling(temperature=0, repetition_penalty=PENALTY)
    given = _together(engine, [Request(tuple(one), penalised, new) for one in few])
    yield _compared(f"with a penalty, {guessing}", oracle, few, told, given)

    banned = frozenset(range(VOCAB_SIZE)) - {*FEW}
    told = [oracle(one, suppress_tokens=sorted(banned)) for one in few]
    given = _together(engine, [request(one, new, banned_ids=banned) for one in few])
    yield _compared(f"text that repeats itself, {guessing}", oracle, few, told, given)

    streams = [engine.generate(request(one, new)) for one in ids]
    for stream in streams[::2]:
        next(stream)
        stream.close()
    rest = [read(stream)[1] for stream in streams[1::2]]
    name = f"beside others that are cancelled, {guessing}"
    yield _compared(name, oracle, ids[1::2], expected[1::2], rest)
    again = _together(engine, [request(one, new) for one in ids])
    yield _compared(f"after that, {guessing}", oracle, ids, expected, again)


def _embedded(place: Place) -> Iterator[Line]:
    from assistant.conversation import Conversation
    from assistant.paths import MODELS

    questions, new = examples()[: 5 if place.on_card else 1], new_tokens(place)
    with opened(loading(place, "embedded", "float32"), drafts=True) as engine:
        yield inside.computes_in(engine, "the embedded model")
        ids = [prompt_ids(engine, Conversation().add_message(one)) for one in questions]
        given = _together(engine, [request(one, new) for one in ids])
    oracle = Oracle(next(MODELS.glob("*/config.json")).parent, new)
    expected = [oracle(one) for one in ids]
    yield _compared("the embedded model, questions", oracle, ids, expected, given)
