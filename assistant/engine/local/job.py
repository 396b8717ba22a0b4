"""A request on its way through the scheduler: what it has, where it stands, what it took."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from queue import SimpleQueue
from typing import Any, NamedTuple

from assistant.engine.local.drafts import Drafts
from assistant.engine.local.guide import Guide
from assistant.engine.local.step import Scores, StepResult, Token
from assistant.engine.protocol import Finished, Logprob, Reason, Request


class Phase(Enum):
    WAITING = "no slot yet"
    READING = "its prompt is being computed"
    WRITING = "it has its first token"
    ENDED = "its reader was told so"


@dataclass(eq=False, slots=True)
class Job:
    """`out` carries (id, log-probabilities or None) for each token, then a Finished or an
    exception.

    place: 0 while it runs, else its place in the waiting room. cancelled is set by the reader.
    """

    request: Request
    pin: bool = False
    guide: Guide | None = None
    out: "SimpleQueue[Token | Finished | Exception]" = field(default_factory=SimpleQueue)
    cancelled: bool = False
    phase: Phase = Phase.WAITING
    place: int = 0
    slot: int = -1  # none yet
    ids: list[int] = field(default_factory=list)  # the prompt, then the reply
    computed: int = 0  # how many positions have their KV in the slot, or are being computed
    chunk: int = 0  # prompt tokens in the next step
    scores: list[Token] = field(default_factory=list)  # the prompt's, from its second token on
    cached: int = 0
    repeatable: bool = False
    drafts: Drafts | None = None
    submitted: float = field(default_factory=time.monotonic)
    admitted: float | None = None
    first_token_at: float | None = None

    def start(self, slot: int, cached: int, repeatable: bool, drafts: bool) -> None:
        """It has a slot, which holds the first `cached` tokens of its prompt."""
        sampling = self.request.sampling
        self.slot, self.cached, self.computed = slot, cached, cached
        self.repeatable = repeatable and (sampling.temperature == 0 or sampling.seed is not None)
        self.ids = list(self.request.ids)
        changing = sampling.penalised or self.guide or self.request.min_new_tokens
        if drafts and not changing:  # with every token before
            self.drafts = Drafts(self.ids)
        self.admitted, self.place, self.phase = time.monotonic(), 0, Phase.READING

    @property
    def cold(self) -> bool:
        """Whether its prompt is computed anew, in a pass of its own."""
        return self.request.cold or self.request.prompt_logprobs is not None

    @property
    def guesses(self) -> bool:
        """Whether tokens are guessed for it at present."""
        return self.drafts is not None and self.drafts.awake

    @property
    def writes(self) -> bool:
        """Whether a token of it is to be drawn that is not being drawn already."""
        return self.phase is Phase.WRITING and self.remaining > 0

    @property
    def number(self) -> int:
        """Of the token that is drawn next, in the reply, from 0."""
        return self.computed + 1 - len(self.request.ids)

    @property
    def generated(self) -> int:
        """How many tokens were drawn: none before `ids` is filled at admission."""
        return max(len(self.ids) - len(self.request.ids), 0)

    @property
    def remaining(self) -> int:
        """How many tokens may be drawn beyond those that are being drawn already."""
        return self.request.max_new_tokens - self.number

    def guess(self, limit: int) -> list[int]:
        """At most `limit` tokens that may come next, as far as the request has room for them."""
        limit = min(limit, self.remaining - 1)
        return self.drafts.guess(limit) if self.drafts and limit > 0 else []

    def end(self, result: Reason | Exception, **stop: Any) -> None:
        """Tell the reader: `result` is the finish reason or the exception. stop: see finished."""
        self.phase = Phase.ENDED
        if not isinstance(result, Exception):
            self.out.put(self.finished(result, self.generated, **stop))
        else:
            self.out.put(result)

    def finished(
        self,
        reason: Reason,
        new_tokens: int,
        stop_id: int | None = None,
        stop_logprob: Scores | None = None,
    ) -> Finished:
        """The Finished of this job as it stands now. stop_logprob: as in `out`."""
        count = self.request.logprobs
        stop = Logprob(stop_logprob[0], stop_logprob[1][:count]) if stop_logprob and count else None
        now = time.monotonic()
        return Finished(
            reason=reason,
            prompt_tokens=len(self.request.ids),
            cached_tokens=self.cached,
            new_tokens=new_tokens,
            waited_s=(self.admitted or now) - self.submitted,
            ttft_s=(self.first_token_at or now) - self.submitted,
            total_s=now - self.submitted,
            stop_id=stop_id,
            repeatable=self.repeatable,
            prompt_logprobs=self._prompt_logprobs(),
            stop_logprob=stop,
        )

    def _prompt_logprobs(self) -> tuple[Logprob | None, ...] | None:
        if self.request.prompt_logprobs is None or self.computed < len(self.request.ids):
            return None
        return (None, *(Logprob(*scores) for _, scores in self.scores if scores))


class Flight(NamedTuple):
    """A decode step under way. parts: (job, its first row, the tokens guessed behind it)."""

    parts: list[tuple[Job, int, list[int]]]
    drawn: StepResult


def draw_options(jobs: Sequence[Job]) -> dict[str, Any]:
    """What drawing for these jobs takes: see DecodeStep.decode."""
    samplings = [job.request.sampling for job in jobs]
    return {
        "greedy": all(sampling.temperature == 0 for sampling in samplings),
        "penalised": any(sampling.penalised for sampling in samplings),
        "typical": any(sampling.typical_p < 1 for sampling in samplings),
        "top": max(job.request.logprobs or 0 for job in jobs),
    }
