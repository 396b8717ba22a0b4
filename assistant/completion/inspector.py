"""score(): what the model thinks of each token of a text, and what else it could have been.

Works for any prompt and what stands behind it: a chat's reply, a continuation. The prompt is
computed anew, so it does not matter how the text came about. Knows ids, no pages.
"""

import functools
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import cast

from assistant.completion.complete import check_ids
from assistant.engine.protocol import Engine, Finished, Logprob, Request, Tokenizer, Waiting
from assistant.errors import EngineError, RequestError
from assistant.sampling import Sampling, check_logprobs

TOP = 10


@dataclass(frozen=True, slots=True)
class Token:
    """text: what the token adds; empty while a character is unfinished. logprob: natural
    logarithm of its probability behind all that stands before it, by the model itself. top: (id,
    text, logprob) of the likeliest tokens in its place, likeliest first; text is that of the token
    alone, with U+FFFD for a part of a character."""

    id: int
    text: str
    logprob: float
    top: tuple[tuple[int, str, float], ...]


def scoring(
    engine: Engine,
    prompt_ids: Sequence[int],
    ids: Sequence[int],
    top: int = TOP,
    *,
    wait_s: float = 0.1,
) -> Generator[Waiting | tuple[Token, ...], None, None]:
    """Yields Waiting while it is computed, then a Token for each of `ids`, which stand behind
    `prompt_ids`. Closing it cancels. top: 1 to 20. wait_s: the longest that one
    next() waits, in seconds; 0 never blocks.

    Raises RequestError, EngineBusy, EngineDead or EngineError, at the first next() at the soonest.
    """
    prompt, ids = check_ids(prompt_ids, engine.tokenizer), check_ids(ids, engine.tokenizer)
    if not prompt or not ids:
        raise RequestError("There are no tokens to inspect; let the model write some first.")
    request = Request(
        ids=(*prompt, *ids),
        sampling=Sampling(temperature=0),
        max_new_tokens=0,
        prompt_logprobs=check_logprobs(top),
    )
    with closing(engine.generate(request, wait_s=wait_s)) as stream:
        for item in stream:
            if isinstance(item, Waiting):
                yield item
            elif isinstance(item, Finished):
                if item.prompt_logprobs is None:
                    raise EngineError("The engine was closed before the tokens were computed.")
                known = [each for each in item.prompt_logprobs[len(prompt) :] if each is not None]
                yield tuple(_tokens(ids, known, engine.tokenizer))


def score(
    engine: Engine, prompt_ids: Sequence[int], ids: Sequence[int], top: int = TOP
) -> tuple[Token, ...]:
    """The Tokens of scoring(), in one call that waits for them."""
    *_, tokens = scoring(engine, prompt_ids, ids, top)
    return cast(tuple[Token, ...], tokens)


def _tokens(
    ids: Sequence[int], logprobs: Sequence[Logprob], tokenizer: Tokenizer
) -> Iterator[Token]:
    @functools.cache
    def alone(id: int) -> str:
        return tokenizer.decode([id])

    for token, text, known in zip(ids, tokenizer.texts(ids), logprobs, strict=True):
        top = tuple((id, alone(id), value) for id, value in known.top)
        yield Token(token, text, known.logprob, top)


def branch(tokens: Sequence[Token], index: object, choice: object) -> tuple[int, ...]:
    """The ids from which to go on with another token: those before tokens[index], then `choice`,
    the id of one of its alternatives. For complete(begun=...). Raises RequestError."""
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(tokens):
        raise RequestError(f"The text has the tokens 0 to {len(tokens) - 1}; choose one of them.")
    if choice not in [id for id, *_ in tokens[index].top]:
        raise RequestError("What was chosen is not an alternative of this token.")
    return (*(token.id for token in tokens[:index]), choice)
