"""What the host alone can say of a job's next token: DRY's penalties, and the mask of a grammar.

Both depend on the newest token, so such jobs are computed when that one was read; others do not
wait for them. What is found is written into the job's row of the sampler's bias, which a captured
step reads as it stands. Knows ids and one row; no step.
"""

from collections.abc import Collection, Sequence

import torch
from llguidance import LLMatcher, LLTokenizer
from torch import Tensor

from assistant.engine.device import upload
from assistant.errors import EngineError
from assistant.grammar import LIMITS
from assistant.sampling import DRY_LENGTH_MAX, Sampling


class Repeats:
    """DRY: what a token would lose because with it the text's end repeats what stood before.

    After its author's description (github.com/oobabooga/text-generation-webui/pull/5677). breakers:
    the ids that no repeat goes across.
    """

    def __init__(self, sampling: Sampling, breakers: Collection[int]) -> None:
        self._sampling, self._breakers = sampling, frozenset(breakers)
        self._ids = torch.empty(0, dtype=torch.long)
        # For each place: how many tokens before it are those at the text's end.
        self._same = torch.empty(0, dtype=torch.long)
        self._count = 0

    def feed(self, ids: Sequence[int]) -> None:
        """The text goes on with `ids`."""
        for token in ids:
            if self._count == len(self._ids):
                room = torch.zeros(max(self._count, 1024), dtype=torch.long)
                self._ids, self._same = torch.cat((self._ids, room)), torch.cat((self._same, room))
            known, n = self._ids[: self._count], self._count
            self._ids[n] = token
            if token in self._breakers:
                self._same.zero_()
            else:
                longer = torch.where(known == token, self._same[:n] + 1, 0)
                self._same[1 : n + 1] = longer
                self._same[0] = 0
            self._count += 1

    def penalties(self) -> tuple[Tensor, Tensor]:
        """(ids, what is taken off the logit of each)."""
        options, length = self._sampling, self._sampling.dry_allowed_length
        same = self._same[: self._count].clamp(max=DRY_LENGTH_MAX)
        places = (same >= length).nonzero()[:, 0]
        ids, place = self._ids[places].unique(return_inverse=True)
        longest = torch.zeros_like(ids).scatter_reduce_(0, place, same[places], "amax")
        lost = options.dry_multiplier * options.dry_base ** (longest - length).double()
        allowed = torch.tensor(
            [token not in self._breakers for token in ids.tolist()], dtype=torch.bool
        )
        return ids[allowed], lost[allowed].float()


class Matches:
    """A grammar, and how far a text has come in it. Raises EngineError where it cannot go on."""

    def __init__(self, grammar: str, tokenizer: LLTokenizer) -> None:
        self._matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=LIMITS)
        self._check()

    def feed(self, ids: Sequence[int]) -> None:
        self._matcher.consume_tokens(list(ids))
        self._check()

    def allowed(self) -> Tensor:
        """bool [vocabulary]: the tokens that may come next."""
        mask = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)
        self._check()
        return mask > 0

    def _check(self) -> None:
        if self._matcher.is_error():
            raise EngineError(
                "What the reply must match became too large to follow; ask for something simpler."
            )


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
