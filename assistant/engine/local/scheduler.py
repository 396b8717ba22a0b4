"""Which tokens the next step computes: admission, chunked prefill, decode, drafts, cancel.

First come, first served. Each step decodes one token of every request that writes (or several
guessed ones), and then computes a bounded chunk of the prompts that are still being read, so that
a long prompt never stalls the others. Knows jobs, slots and steps; no text.
"""

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch

from assistant.engine.local.drafts import DRAFT_ROWS
from assistant.engine.local.failures import NOT_A_NUMBER, attempt
from assistant.engine.local.job import Flight, Job, Phase, draw_options
from assistant.engine.local.pace import Pace
from assistant.engine.local.step import DecodeStep, Row, Scores, Token
from assistant.engine.local.threads import Threads
from assistant.engine.model.model import Chunk
from assistant.engine.protocol import Reason
from assistant.errors import EngineBusy, EngineDead, EngineError

DRAFTING = 4  # requests at once up to which tokens are guessed: more fill a step by themselves


class Scheduler:
    """The waiting room and the running jobs. `submit` may be called by any thread."""

    def __init__(
        self,
        decode_step: DecodeStep,
        pace: Pace,
        decode: Threads,
        prefill: Threads,
        queue: int,
        *,
        drafts: bool = True,
        bitwise_stable: bool = False,
    ) -> None:
        self.decode_threads, self.prefill_threads = decode, prefill
        self.decode_step, self.pace, self.model = decode_step, pace, decode_step.model
        self.cache, self.sampler = decode_step.cache, decode_step.sampler
        self.slots, self.queue = len(self.cache.ids), queue
        self.drafts, self.bitwise_stable = drafts, bitwise_stable
        self.lock = threading.Condition()  # guards `waiting` and `closed`
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.flights: deque[Flight] = deque()  # decode steps whose tokens were not read yet
        self.closed: str | None = None  # the sentence why no job is taken any more

    def check_room(self) -> None:
        """Raises EngineDead when closed, EngineBusy when slots and waiting room are full."""
        if self.closed:
            raise EngineDead(self.closed)
        count = len(self.running) + len(self.waiting)
        if count >= self.slots + self.queue:
            raise EngineBusy(
                f"{count} requests are running or waiting, which is the limit ({self.slots} slots "
                f"and a queue of {self.queue}); try again in a moment."
            )

    def submit(self, job: Job) -> None:
        with self.lock:
            self.check_room()
            self.waiting.append(job)
            job.place = len(self.waiting)
            self.lock.notify()

    def close(self, why: str, *, dead: bool = False) -> None:
        """Take no more jobs, for the reason `why`, and end those that there are: as cancelled, or
        with EngineDead."""
        with self.lock:
            self.closed = why
            waiting, self.waiting = self.waiting, []
        for job in waiting:
            job.end(EngineDead(why) if dead else "cancelled")
        for job in list(self.running):
            self.end(job, EngineDead(why) if dead else "cancelled")

    def step(self) -> bool:
        """Compute one step; False when there was nothing to do. Raises what ends all jobs."""
        for job in [job for job in self.running if job.cancelled]:
            self.end(job, "cancelled")
        self._admit()
        if not self.running:
            self._land(0)
            return False
        self._decode()
        self._prefill()
        return True

    def end(self, job: Job, result: Reason | Exception, **stop: Any) -> None:
        """Take a running job out; `result` is its finish reason or the exception that ended it."""
        self.running.remove(job)
        self.cache.release(job.slot)
        job.end(result, **stop)

    # -- who runs ---------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Cancelled jobs leave the waiting room, and the first others get the free slots."""
        with self.lock:
            for job in [job for job in self.waiting if job.cancelled]:
                self.waiting.remove(job)
                job.end("cancelled")
            while self.waiting and self.cache.free:
                self._start(self.waiting[0])
                self.waiting.pop(0)
            for place, job in enumerate(self.waiting, 1):
                job.place = place

    def _start(self, job: Job) -> None:
        """Give a job its slot. One that cannot start ends alone."""
        sentence = attempt(self._place, [job], self.model.device)
        if not sentence:
            return self.running.append(job)
        if job.slot >= 0:
            self.cache.release(job.slot)
        job.end(EngineError(sentence))

    def _place(self, jobs: Sequence[Job]) -> None:
        (job,) = jobs
        slot, cached = self.cache.acquire(job.request.ids, anew=job.cold)
        repeatable = job.cold or self.bitwise_stable and self.cache.cold[slot] == cached
        job.start(slot, cached, repeatable, self.drafts and not self._apart(job))
        self.sampler.start(slot, job.request)
        if job.guide:
            job.guide.write(self.sampler.bias[slot], ())

    def _apart(self, job: Job) -> bool:
        """Whether its rows must be computed by themselves, to be the same every time."""
        return job.cold and not self.bitwise_stable

    def _guard(self, jobs: list[Job], compute: Callable[[list[Job]], None]) -> None:
        """`compute(jobs)`; if that fails, one by one, so that only those end that fail alone."""
        sentence = attempt(compute, jobs, self.model.device)
        if sentence and len(jobs) == 1:
            self.cache.forget(jobs[0].slot)
            self.end(jobs[0], EngineError(sentence))
        elif sentence:
            self._land(0)  # what the failed step would have gone on from is not there any more
            for job in jobs:
                if job.phase is Phase.READING or job.writes:
                    self._guard([job], compute)

    # -- prefill ----------------------------------------------------------------------------------

    def _prefill(self) -> None:
        """The next chunk of the prompts that are being read, in the order they came. One that is
        computed anew is read by itself, in chunks of a fixed size."""
        budget = None
        jobs: list[Job] = []
        for job in self.running:
            if job.phase is not Phase.READING:
                continue
            if job.cold and jobs:
                break
            if job.cold:
                budget = self.pace.fixed
            elif budget is None:
                decoding = any(other.phase is Phase.WRITING for other in self.running)
                budget = self.pace.tokens(job.computed, alone=not decoding)
            job.chunk = min(budget, len(job.ids) - job.computed)
            budget -= job.chunk
            jobs.append(job)
            if job.cold or not budget:
                break
        if jobs:
            self._guard(jobs, self._read_prompts)

    def _read_prompts(self, jobs: list[Job]) -> None:
        chunks = [
            Chunk(job.ids[job.computed :][: job.chunk], job.slot, job.computed) for job in jobs
        ]
        started = time.perf_counter()
        with self.prefill_threads.computing(sum(job.chunk for job in jobs)):
            hidden = self.model.prefill(chunks, self.cache.kv).split([job.chunk for job in jobs])
        if len(jobs) == 1 and self.model.waits:
            self.pace.note_chunk(jobs[0].computed, jobs[0].chunk, time.perf_counter() - started)
        whole = [n for n, job in enumerate(jobs) if job.computed + job.chunk == len(job.ids)]
        drawn: list[Token] = []
        if whole:
            ready = [jobs[n] for n in whole]
            slots, positions = [job.slot for job in ready], [len(job.ids) for job in ready]
            logits = self.model.logits(torch.stack([hidden[n][-1] for n in whole]))
            drawn = self.decode_step.draw(logits, slots, positions, **draw_options(ready)).read()
        for job, chunk, states in zip(jobs, chunks, hidden, strict=True):
            ids = job.ids[job.computed + 1 :][: job.chunk]  # nothing follows the last one
            if ids and (count := job.request.prompt_logprobs):
                job.scores += self.decode_step.scores(states[: len(ids)], ids, count)
            self.cache.extend(job.slot, chunk.ids, cold=True)
            job.computed += len(chunk.ids)
        for n, (token, logprob) in zip(whole, drawn, strict=True):
            if jobs[n].pin and token >= 0:
                self._guard([jobs[n]], self._pin)
            else:
                self._advance(jobs[n], token, logprob)

    def _pin(self, jobs: list[Job]) -> None:
        (job,) = jobs
        self.cache.pin(job.slot)
        self.end(job, "stop")

    # -- decode -----------------------------------------------------------------------------------

    def _decode(self) -> None:
        """Launch a decode step, and read its tokens, or on CUDA those of the one before."""
        started = time.monotonic()
        drafting = len(self.running) <= DRAFTING and any(job.guesses for job in self.running)
        late = self.decode_step.late and not drafting
        if not late:
            self._land(0)  # a guess needs the newest tokens
        jobs = [job for job in self.running if job.writes]
        before = list(self.flights)
        launch = functools.partial(self._launch, spare=DRAFT_ROWS if drafting else 0)
        for group in self._groups([job for job in jobs if not (late and job.guide)]):
            self._guard(group, launch)
        self._land(sum(flight not in before for flight in self.flights) if late else 0)
        # What these may draw hangs on a token that was read just now.
        for group in self._groups([job for job in jobs if late and job.guide and job.writes]):
            self._guard(group, launch)
        if jobs and self.model.waits:
            self.pace.note_step(time.monotonic() - started)

    def _groups(self, jobs: list[Job]) -> list[list[Job]]:
        """Those that are computed together."""
        company = [job for job in jobs if not self._apart(job)]
        return [[job] for job in jobs if self._apart(job)] + [company] * bool(company)

    def _write_bias(self, job: Job) -> None:
        """What is added to the logits of a job's next token. Raises EngineError."""
        request = job.request
        self.sampler.bias_for(job.slot, request, ending=job.number >= request.min_new_tokens)
        if job.guide:
            job.guide.write(self.sampler.bias[job.slot], job.ids[len(request.ids) :])

    def _launch(self, jobs: list[Job], spare: int) -> None:
        """Decode a token of each of `jobs`, and guessed ones behind it in up to `spare` rows."""
        for job in jobs:
            if job.guide or job.number == job.request.min_new_tokens:
                self._write_bias(job)
        rows, parts = list[Row](), list[tuple[Job, int, list[int]]]()
        for job in jobs:
            guesses = job.guess(spare // len(jobs) - 1)
            parts.append((job, len(rows), guesses))
            ids = [job.ids[job.computed] if job.computed < len(job.ids) else -1, *guesses]
            rows += [Row(token, job.slot, job.computed + n) for n, token in enumerate(ids)]
        with self.decode_threads.computing(len(rows)):
            flight = Flight(parts, self.decode_step.decode(rows, **draw_options(jobs)))
        for job in jobs:
            job.computed += 1
        self.flights.append(flight)

    def _land(self, left: int) -> None:
        """Read the oldest steps until `left` are under way."""
        while len(self.flights) > left:
            parts, result = self.flights.popleft()
            drawn = result.read()
            for job, row, guesses in parts:
                if job.phase is not Phase.ENDED:
                    self._accept(job, drawn[row : row + 1 + len(guesses)], guesses)

    def _accept(self, job: Job, drawn: Sequence[Token], guesses: list[int]) -> None:
        """The tokens drawn behind a job's last one and behind each guess, as far as they agree."""
        right = 0
        self._advance(job, *drawn[0])
        while (
            job.phase is not Phase.ENDED
            and right < len(guesses)
            and guesses[right] == drawn[right][0]
        ):
            right += 1
            job.computed += 1
            self._advance(job, *drawn[right])
        if guesses and job.drafts:
            job.drafts.learn(len(guesses), right)

    def _advance(self, job: Job, token: int, logprob: Scores | None) -> None:
        """The next token of a job is there."""
        if token < 0:
            self.cache.forget(job.slot)  # its keys and values may be no numbers either
            return self.end(job, EngineError(NOT_A_NUMBER))
        if not job.request.max_new_tokens:
            return self.end(job, "length")
        known = len(self.cache.ids[job.slot])
        self.cache.extend(job.slot, job.ids[known : job.computed])
        if job.phase is Phase.READING:
            job.first_token_at, job.phase = time.monotonic(), Phase.WRITING
        if token in job.request.stop_ids:
            return self.end(job, "stop", stop_id=token, stop_logprob=logprob)
        job.ids.append(token)
        job.out.put((token, logprob if job.request.logprobs else None))
        if job.generated == job.request.max_new_tokens:
            self.end(job, "length")
