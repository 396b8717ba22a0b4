"""Which tokens the next step computes: admission, chunked prefill, decode, cancel.

First come, first served. Each step is one forward pass over the last token of every request that
decodes, plus a bounded chunk of the prompts that are still being read, so that a long prompt never
stalls the others. Knows jobs, slots and steps; no threads, no text.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from queue import SimpleQueue

from assistant.engine import Finished, Request
from assistant.engine.model import Chunk
from assistant.engine.sampler import Sampler
from assistant.errors import EngineBusy, EngineDead, EngineError

log = logging.getLogger(__name__)

FAILED = "The engine failed during this reply; send the message again."

CHUNK_ALONE = 512  # prompt tokens in a step when nobody decodes: bounds the time to a cancel
CHUNK_SHARED = 64  # prompt tokens in a step beside decoding requests: bounds their pause


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way. `out` carries ints (new tokens), then a Finished or an exception.

    place: 0 while it runs, else its place in the waiting room. cancelled is set by the reader.
    """

    request: Request
    pin: bool = False
    out: SimpleQueue = field(default_factory=SimpleQueue)
    cancelled: bool = False
    place: int = 0
    slot: int | None = None
    ids: list[int] = field(default_factory=list)  # the prompt, then the reply
    done: int = 0  # how many of `ids` have their KV in the slot
    cached: int = 0
    sampler: Sampler | None = None
    submitted: float = field(default_factory=time.monotonic)
    admitted: float | None = None
    first: float | None = None

    @property
    def new(self):
        """How many tokens were drawn: none before `ids` is filled at admission."""
        return max(len(self.ids) - len(self.request.ids), 0)

    def end(self, result, stop_id=None):
        """Tell the reader: `result` is the finish reason or the exception."""
        failed = isinstance(result, Exception)
        self.out.put(result if failed else self.finished(result, self.new, stop_id))

    def finished(self, reason, new_tokens, stop_id=None):
        """The Finished of this job as it stands now."""
        now = time.monotonic()
        return Finished(
            reason=reason,
            prompt_tokens=len(self.request.ids),
            cached_tokens=self.cached,
            new_tokens=new_tokens,
            waited_s=(self.admitted or now) - self.submitted,
            ttft_s=(self.first or now) - self.submitted,
            total_s=now - self.submitted,
            stop_id=stop_id,
        )


class Scheduler:
    """The waiting room and the running jobs. `submit` may be called by any thread."""

    def __init__(self, model, cache, queue):
        self.model, self.cache = model, cache
        self.slots, self.queue = len(cache.ids), queue
        self.lock = threading.Condition()  # guards `waiting` and `closed`
        self.waiting = []
        self.running = []
        self.closed = None  # the sentence why no job is taken any more

    def check_room(self):
        """Raises EngineDead when closed, EngineBusy when slots and waiting room are full."""
        if self.closed:
            raise EngineDead(self.closed)
        count = len(self.running) + len(self.waiting)
        if count >= self.slots + self.queue:
            raise EngineBusy(
                f"{count} requests are running or waiting, which is the limit ({self.slots} slots "
                f"and a queue of {self.queue}); try again in a moment."
            )

    def submit(self, job):
        with self.lock:
            self.check_room()
            self.waiting.append(job)
            job.place = len(self.waiting)
            self.lock.notify()

    def close(self, why, result):
        """Take no more jobs, for the reason `why`, and end those that there are with `result`."""
        with self.lock:
            self.closed = why
            waiting, self.waiting = self.waiting, []
        for job in waiting:
            job.end(result)
        for job in list(self.running):
            self.end(job, result)

    def step(self):
        """Compute one step; False when there was nothing to do."""
        for job in [job for job in self.running if job.cancelled]:
            self.end(job, "cancelled")
        self._admit()
        if not self.running:
            return False
        jobs, chunks = self._next_chunks()
        logits = self.model.forward(chunks, self.cache.kv)
        for job, chunk, row in zip(jobs, chunks, logits, strict=True):
            self.cache.ids[job.slot] += chunk.ids
            job.done += len(chunk.ids)
            if job.done == len(job.ids):
                self._advance(job, row)
        return True

    def end(self, job, result, stop_id=None):
        """Take a running job out; `result` is its finish reason or the exception that ended it."""
        self.running.remove(job)
        self.cache.release(job.slot)
        job.end(result, stop_id)

    def _admit(self):
        """Cancelled jobs leave the waiting room, and the first others get the free slots."""
        with self.lock:
            for job in [job for job in self.waiting if job.cancelled]:
                self.waiting.remove(job)
                job.end("cancelled")
            while self.waiting and self.cache.free:
                self._start(self.waiting.pop(0))
            for place, job in enumerate(self.waiting, 1):
                job.place = place

    def _start(self, job):
        """Give a job its slot. One that cannot start ends alone."""
        try:
            job.sampler = Sampler(job.request)
            job.slot, job.cached = self.cache.take(job.request.ids)
        except Exception:
            log.exception("a request could not start")
            return job.end(EngineError(FAILED))
        job.ids, job.done = list(job.request.ids), job.cached
        job.admitted, job.place = time.monotonic(), 0
        self.running.append(job)

    def _next_chunks(self):
        """The running jobs with something to compute in this step, and what each computes."""
        decoding = any(job.first for job in self.running)
        budget = CHUNK_SHARED if decoding else CHUNK_ALONE
        jobs, chunks = [], []
        for job in self.running:
            ids = job.ids[job.done :] if job.first else job.ids[job.done : job.done + budget]
            if not job.first:
                budget -= len(ids)
            if ids:
                jobs.append(job)
                chunks.append(Chunk(ids, job.slot, job.done))
        return jobs, chunks

    def _advance(self, job, logits):
        """All of the job's ids are computed: pin them, or draw the next one."""
        if job.pin:
            self.cache.pin(job.slot)
            return self.end(job, "stop")
        try:
            token = job.sampler.draw(logits)
        except EngineError as error:
            self.cache.ids[job.slot] = []  # its keys and values may be no numbers either
            return self.end(job, error)
        job.first = job.first or time.monotonic()
        if token in job.request.stop_ids:
            return self.end(job, "stop", token)
        job.ids.append(token)
        job.out.put(token)
        if job.new == job.request.max_new_tokens:
            self.end(job, "length")
