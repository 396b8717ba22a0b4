"""The workbench of the page: up to four prompt templates side by side, and a blind vote.

Knows templates, questions and results; how replies are judged is evaluate.py's, how results are
written down report.py's.
"""

from dataclasses import dataclass

from assistant.playground.evaluate import Result

TEMPLATES_MAX = 4
QUESTIONS_MAX = 60
SEEDS_MAX = 10
REPLIES_MAX = 400


class Job:
    """One run. planned: the number of replies. assistants: name to Assistant, for to_json().
    Iterates over Results as they come, and None at least every `wait_s` seconds while there is
    none; `close()` cancels what still runs. Raises EngineDead while reading."""


def start(engine, templates, questions, seeds, *, max_new_tokens, wait_s=0.1):
    """The Job of templates x questions x seeds. templates: name to PromptTemplate, 1 to 4.
    questions: Questions (questions.load_questions, questions.typed). It takes at most half of the
    engine's slots. Raises RequestError or TemplateError before anything is computed."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one question with one seed, without their prompts' names."""

    first: Result
    second: Result


def pairs(results, left, right, seed):
    """The Pairs of two prompts, in an order and with sides drawn by `seed`; those that failed or
    are the same text are left out."""
    raise NotImplementedError


def tally(pairs, votes):
    """What the votes say: {prompt: how often it won, ..., "tie": how often neither}. votes: for
    each pair, from the first on, "first", "second" or "tie"; the rest was not voted on."""
    raise NotImplementedError
