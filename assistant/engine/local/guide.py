"""What the host alone can say of a job's next token: DRY's penalties, and the mask of a grammar.

Both depend on the newest token, so on a card such jobs are computed when that one was read; others
do not wait for them. On a CPU all are computed together, and wait for each mask. What is found is
written into the job's row of the sampler's bias, which a captured step reads as it stands. Knows
ids and one row; no step.
"""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from torch import Tensor

from assistant.engine.device import upload
from assistant.errors import EngineError, GrammarError
from assistant.grammar import LIMITS
from assistant.sampling import DRY_LENGTH_MAX, Sampling


class Repeats:
    """DRY: what a token would lose because with it the text's end repeats what stood before.

    After its author's description (github.com/oobabooga/text-generation-webui/pull/5677). breakers:
    the ids that no repeat goes across.
    """

    def __init__(self, sampling: Sampling, breakers: frozenset[int]) -> None:
        self._sampling, self._breakers = sampling, breakers
        self._ids = np.zeros(1024, dtype=np.int64)
        self._count = 0
        self._since = 0  # tokens behind the last breaker

    def feed(self, ids: Sequence[int]) -> None:
        """The text goes on with `ids`."""
        count = self._count + len(ids)
        if count > len(self._ids):
            self._ids = np.concatenate((self._ids, np.zeros(count, dtype=np.int64)))
        self._ids[self._count : count] = ids
        self._count = count
        behind = next((n for n, token in enumerate(reversed(ids)) if token in self._breakers), None)
        self._since = self._since + len(ids) if behind is None else behind

    def penalties(self) -> tuple[Tensor, Tensor]:
        """(ids, what is taken off the logit of each)."""
        ids, options = self._ids[: self._count], self._sampling
        # For each place: how many tokens before it are those at the text's end.
        same = np.zeros(self._count, dtype=np.int64)
        alike = np.ones(self._count, dtype=bool)
        for back in range(1, min(self._since, self._count - 1, DRY_LENGTH_MAX) + 1):
            alike[:back] = False
            alike[back:] &= ids[:-back] == ids[-back]
            if not alike.any():
                break
            same[alike] = back
        longest: dict[int, int] = {}
        for place in np.flatnonzero(same >= options.dry_allowed_length):
            token = int(ids[place])
            longest[token] = max(longest.get(token, 0), int(same[place]))
        lost = {
            token: options.dry_multiplier * options.dry_base ** (n - options.dry_allowed_length)
            for token, n in longest.items()
            if token not in self._breakers
        }
        return torch.tensor(list(lost), dtype=torch.long), torch.tensor(list(lost.values()))


class Matches:
    """A grammar, and how far a text has come in it. banned: tokens that are never drawn. Raises
    GrammarError where nothing matches or it is too large, and EngineError where a reply that has
    begun cannot go on."""

    def __init__(self, grammar: str, tokenizer: LLTokenizer, banned: Collection[int]) -> None:
        self._banned = torch.tensor(list(banned), dtype=torch.long)
        self._matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=LIMITS)
        try:
            self._first: Tensor | None = (
                self._compute()
            )  # the costliest, and not on the engine's thread
        except EngineError as error:
            raise GrammarError(str(error)) from error

    def feed(self, ids: Sequence[int]) -> None:
        if ids:
            self._first = None
            self._matcher.consume_tokens(list(ids))

    def allowed(self) -> Tensor:
        """bool [vocabulary]: the tokens that may come next."""
        return self._compute() if self._first is None else self._first

    def _compute(self) -> Tensor:
        mask = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)
        if self._matcher.is_error():
            raise EngineError(
                "What the reply must match is too large to follow; ask for something simpler."
            )
        allowed = mask > 0
        allowed[self._banned] = False
        if not allowed.any():
            raise EngineError(
                "What the reply must match goes on with a token that may not be written here; ask "
                "for other text."
            )
        return allowed


class Guide:
    """What one job's text so far means for its next token."""

    def __init__(self, repeats: Repeats | None, matches: Matches | None) -> None:
        self._repeats, self._matches = repeats, matches
        self._read = 0  # tokens of the reply

    def write(self, row: Tensor, reply: Sequence[int]) -> None:
        """Into a row of the sampler's bias, [vocabulary], which holds what does not change. reply:
        all its ids so far. Raises EngineError."""
        new, self._read = reply[self._read :], len(reply)
        if self._repeats:
            self._repeats.feed(new)
            ids, lost = self._repeats.penalties()
            if len(ids):
                row.index_add_(0, upload(ids, row.device), upload(-lost, row.device))
        if self._matches:
            self._matches.feed(new)
            row.masked_fill_(upload(~self._matches.allowed(), row.device), -torch.inf)
