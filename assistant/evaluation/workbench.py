"""The workbench of the page: up to four prompt templates side by side, and a blind vote.

Knows templates, questions and results; how replies are judged is evaluate.py's, how results are
written down report.py's.
"""

import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from assistant.chat.assistant import Assistant
from assistant.completion.complete import check_count
from assistant.engine.protocol import Engine
from assistant.evaluation.evaluate import Result, evaluate
from assistant.evaluation.questions import Question
from assistant.evaluation.report import in_order
from assistant.prompting.template import PromptTemplate

TEMPLATES_MAX = 4
QUESTIONS_MAX = 60
SEEDS_MAX = 10
REPLIES_MAX = 400


class Comparison:
    """Templates x questions x seeds as one run, checked here; nothing is computed before the first
    next().

    templates: by name. seeds: how many, from 0 on. wait_s: the longest that one next() waits.
    Iterates over Results as they come, and None where there is none yet. At most half of the
    engine's slots are used. `close()` cancels what still runs, from any thread. planned: the number
    of replies; results: those so far, by question, prompt and seed; assistants: by the name of
    their template.

    Raises RequestError, TemplateError; while reading EngineDead.
    """

    def __init__(
        self,
        engine: Engine,
        templates: Mapping[str, PromptTemplate],
        questions: Sequence[Question],
        seeds: int,
        *,
        max_new_tokens: int = 512,
        wait_s: float | None = 0.1,
    ) -> None:
        check_count("prompt templates", len(templates), TEMPLATES_MAX)
        check_count("questions", len(questions), QUESTIONS_MAX)
        seeds = check_count("seeds", seeds, SEEDS_MAX)
        self.planned = len(templates) * len(questions) * seeds
        check_count("replies in all", self.planned, REPLIES_MAX)
        self.assistants = {
            name: Assistant(engine, template, max_new_tokens=max_new_tokens, pin=False)
            for name, template in templates.items()
        }
        self.questions, self.seeds = list(questions), seeds
        self._results: list[Result] = []
        self._closed = threading.Event()
        half = max(engine.status().slots // 2, 1)
        self._stream = evaluate(self.assistants, self.questions, seeds, at_once=half, wait_s=wait_s)

    @property
    def results(self) -> list[Result]:
        return in_order(self._results, self.questions, self.assistants)

    def __iter__(self) -> "Comparison":
        return self

    def __next__(self) -> Result | None:
        if self._closed.is_set():
            self._stream.close()
        result = next(self._stream)
        if result is not None:
            self._results.append(result)
        return result

    def close(self) -> None:
        self._closed.set()
        with suppress(ValueError):  # a next() is at work in another thread; the one after closes
            self._stream.close()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one question with one seed, to be shown without their prompts' names."""

    first: Result
    second: Result


def pairs(results: Iterable[Result], left: str, right: str, seed: int) -> list[Pair]:
    """The Pairs of the prompts `left` and `right`, in an order and with sides that `seed` draws;
    without those that failed, or are the same text."""
    found = {(r.question.key, r.seed, r.prompt): r for r in results if r.error is None}
    both = [
        (found[key, number, left], found[key, number, right])
        for key, number, prompt in sorted(found)
        if prompt == left and (key, number, right) in found
    ]
    both = [pair for pair in both if pair[0].text != pair[1].text]
    rng = random.Random(seed)
    rng.shuffle(both)
    return [Pair(*pair) if rng.random() < 0.5 else Pair(*reversed(pair)) for pair in both]


@dataclass(frozen=True, slots=True)
class Tally:
    """wins: prompt to the number of its votes. ties: votes for neither."""

    wins: dict[str, int]
    ties: int


def tally(pairs: Iterable[Pair], votes: Iterable[str]) -> Tally:
    """The Tally of `votes`: for each of `pairs`, from the first on, "first", "second" or "tie";
    pairs beyond them were not voted on."""
    wins: Counter[str] = Counter()
    ties = 0
    for pair, vote in zip(pairs, votes, strict=False):
        wins[pair.first.prompt] += vote == "first"
        wins[pair.second.prompt] += vote == "second"
        ties += vote == "tie"
    return Tally(dict(wins), ties)
