"""LocalEngine: the thread that owns the model, and the streams that read from it.

Tokens become text on the reader's side, so the engine's thread does nothing but compute.
"""

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import cast

import torch
from llguidance import LLTokenizer

from assistant.engine.check import check_request
from assistant.engine.checkpoint.load import Checkpoint, load_checkpoint
from assistant.engine.device import on_card, use_card
from assistant.engine.local.cache import Cache
from assistant.engine.local.calibrate import choose_model, depend_on_threads, is_bitwise_stable
from assistant.engine.local.drafts import DRAFT_ROWS
from assistant.engine.local.failures import is_out_of_memory
from assistant.engine.local.guide import Guide, Matches, Repeats
from assistant.engine.local.job import Job
from assistant.engine.local.pace import Pace
from assistant.engine.local.proof import prove, try_elsewhere
from assistant.engine.local.sampler import Sampler
from assistant.engine.local.scheduler import Scheduler
from assistant.engine.local.step import DecodeStep, Token
from assistant.engine.local.threads import Threads, thread_counts
from assistant.engine.model import kernels
from assistant.engine.model.model import Chunk, Model
from assistant.engine.protocol import Decoder, Logprob, Piece, Request, Status, Tokenizer
from assistant.engine.stream import JobStream
from assistant.engine.tokenizer import BPETokenizer
from assistant.errors import CheckpointError, EngineDead, EngineError
from assistant.sampling import Sampling
from assistant.settings import Settings

log = logging.getLogger(__name__)

DEAD = "The engine has stopped after a failure of the device; the program must be restarted."
CLOSED = "The engine is closed."
TRIAL_S = 0.4  # how long it is tried, at load, how many threads are fastest
STEP_S = 1.5  # how long closing waits for the step that is being computed


class LocalEngine:
    """One model on one device or in parts, serving up to `slots` requests at once. See the Engine
    protocol.

    threads: how many compute on a CPU; None for as many as are fastest. drafts: whether tokens are
    guessed ahead; it changes the speed, not the text. Raises CheckpointError and HubError.
    """

    limitations: dict[str, str] = {}
    numerics: str | None

    def __init__(
        self,
        load: Callable[[], Checkpoint],
        *,
        slots: int = 8,
        queue: int = 64,
        threads: int | None = None,
        drafts: bool = True,
    ) -> None:
        self._closing = False
        self._breakers = functools.lru_cache(maxsize=8)(self._find_breakers)
        ready: Future[None] = Future()
        prepare = functools.partial(self._prepare, load, slots, queue, threads, drafts)
        self._thread = threading.Thread(
            target=self._run, args=(prepare, ready), name="engine", daemon=True
        )
        self._thread.start()
        ready.result()

    @classmethod
    def open(cls, settings: Settings) -> "LocalEngine":
        load = functools.partial(load_checkpoint, settings)
        return cls(load, slots=settings.slots, queue=settings.queue, threads=settings.threads)

    def generate(self, request: Request, *, wait_s: float = 0.1) -> "LocalStream":
        check_request(request, self._vocabulary, self.window)
        job = Job(request, guide=self._guide(request))
        stream = LocalStream(job, self.tokenizer.decoder(), wait_s)
        self._scheduler.submit(stream.job)
        return stream

    def _guide(self, request: Request) -> Guide | None:
        """Made here, on the reader's side: a grammar can take a while."""
        sampling = request.sampling
        repeats = matches = None
        if sampling.dry_multiplier:
            repeats = Repeats(sampling, self._breakers(sampling.dry_sequence_breakers))
            repeats.feed(request.ids[request.penalty_from :])
        if request.grammar is not None:
            matches = Matches(request.grammar, self._grammar_tokens, request.banned_ids)
        return Guide(repeats, matches) if repeats or matches else None

    @functools.cached_property
    def _texts(self) -> list[str]:
        """Of each token, by itself."""
        return [self.tokenizer.decode([token]) for token in range(len(self.tokenizer))]

    def _find_breakers(self, strings: tuple[str, ...]) -> frozenset[int]:
        """The tokens that hold one of `strings`."""
        texts = enumerate(self._texts)
        return frozenset(token for token, text in texts if any(one in text for one in strings))

    @functools.cached_property
    def _grammar_tokens(self) -> LLTokenizer:
        """The tokens as grammars know them; made when the first one comes."""
        spec = cast(BPETokenizer, self.tokenizer).spec()
        return LLTokenizer(spec, n_vocab=self._vocabulary, eos_token=self.tokenizer.eos_id)

    def check_room(self) -> None:
        self._scheduler.check_room()

    def pin(self, ids: tuple[int, ...]) -> None:
        if any(pinned == ids for pinned, *_ in self._scheduler.cache.pinned):
            return
        request = Request(ids, Sampling(), max_new_tokens=1)
        check_request(request, self._vocabulary, self.window)
        job = Job(request, pin=True)
        self._scheduler.submit(job)
        result = job.out.get()
        if isinstance(result, EngineDead) or getattr(result, "reason", "stop") == "cancelled":
            raise EngineDead(self._scheduler.closed)
        if isinstance(result, Exception):
            raise EngineError(
                f"The {len(ids)} tokens of the prompt template could not be computed; if memory "
                "is short, choose a smaller checkpoint with --model or fewer --slots."
            ) from result

    def status(self) -> Status:
        scheduler = self._scheduler
        dead = scheduler.closed if scheduler.closed != CLOSED else None
        return Status(len(scheduler.running), len(scheduler.waiting), scheduler.slots, dead)

    def close(self) -> None:
        self._closing = True
        with self._scheduler.lock:
            self._scheduler.lock.notify()
        self._thread.join(STEP_S)

    @torch.inference_mode()
    def _run(self, prepare: Callable[[], None], ready: "Future[None]") -> None:
        """The engine's thread. However it ends, no reader is left waiting.

        Loading is done here too: a second thread with OpenMP workers of its own would make every
        operator several times slower on the CPU, even while it sleeps.
        """
        try:
            prepare()
        except BaseException as error:
            return ready.set_exception(error)
        ready.set_result(None)
        try:
            while not self._closing:
                self._step()
        except BaseException:  # a broken device: its errors last until the process ends
            log.exception("the engine has stopped")
            self._scheduler.close(DEAD, dead=True)
        else:
            self._scheduler.close(CLOSED)

    def _prepare(
        self,
        load: Callable[[], Checkpoint],
        slots: int,
        queue: int,
        threads: int | None,
        drafts: bool,
    ) -> None:
        checkpoint = load()
        self.model = checkpoint.name
        self.revision = checkpoint.revision
        self.adapter = checkpoint.adapter
        self.embedded = checkpoint.embedded
        self.tokenizer: Tokenizer = checkpoint.tokenizer
        try:
            counts = thread_counts(threads)
            model = choose_model(checkpoint, counts[-1])
            torch.set_num_threads(counts[-1])
            checkpoint.tensors.clear()  # what the model does not use is free now
            card = on_card(model.device)
            if card:
                use_card(model.device)
                torch.cuda.empty_cache()  # what loading took for a while is free for the trial, too
                refused = try_elsewhere(model)
            cache = Cache(model, slots)
            sampler = Sampler(cache.kv[0].shape[1], model.vocab_size, model.device)
            _self_check(model, cache, self.tokenizer.eos_id, self.model)
            decode_step = DecodeStep(model, cache, sampler)
            if card:
                prove(decode_step, max(slots, DRAFT_ROWS), refused)
            bitwise_stable = is_bitwise_stable(model, cache)
            decode, prefill = self._try_threads(model, cache, counts)
            torch.set_num_threads(prefill.count)
            pace = Pace(decode_step)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise CheckpointError(
                f"{self.model} with a KV cache for {slots} slots does not fit in memory; give "
                "fewer with --slots, a shorter window with --window, or a smaller checkpoint with "
                "--model."
            ) from error
        self.window, self._vocabulary = model.window, model.vocab_size
        self._scheduler = Scheduler(
            decode_step, pace, decode, prefill, queue, drafts=drafts, bitwise_stable=bitwise_stable
        )

    def _try_threads(
        self, model: Model, cache: Cache, counts: list[int]
    ) -> tuple[Threads, Threads]:
        """The Threads of decode and of prefill; sets `numerics`."""
        decode, prefill = both = Threads(counts), Threads(counts, block=1)
        numerics = model.numerics
        number = "1 thread" if counts[-1] == 1 else f"{counts[-1]} threads"
        if on_card(model.device):
            places = [model.place] * (len(model.places) > 1) + [number] * model.waits
            self.numerics = ", ".join([numerics, *places, str(kernels.path)])
            decode.fix()
            prefill.fix()
            return both
        depends = depend_on_threads(model, cache, counts)
        others = sorted({1, 2, 4} - {*counts})
        if any(depends):
            numerics += f", {number}"
        elif others and any(depend_on_threads(model, cache, [*others, counts[-1]])):
            numerics += f", at most {number}"  # others would give other numbers
        self.numerics = numerics
        for threads, fixed in zip(both, depends, strict=True):
            if fixed:
                threads.fix()
        row = torch.zeros(1, dtype=torch.long)
        tile = min(model.prefill_tile, model.window - 1)
        decode.settle(lambda: model.decode(row, row, row, cache.kv), 1, TRIAL_S)
        prefill.settle(lambda: model.prefill([Chunk([0] * tile, 0, 0)], cache.kv), tile, TRIAL_S)
        log.info("%s; %d threads decode, %d read", numerics, decode.count, prefill.count)
        return both

    def _step(self) -> None:
        """One step, or a wait for work."""
        scheduler = self._scheduler
        if scheduler.step():
            return
        with scheduler.lock:
            while not (scheduler.waiting or self._closing):
                scheduler.lock.wait()


class LocalStream(JobStream[Job]):
    """The job's tuples are Tokens."""

    _decoder: Decoder

    def _piece(self, drawn: Sequence[Token]) -> Piece | None:
        ids = tuple(token for token, _ in drawn)
        text = self._decoder.feed(ids)
        if self._last is not None:
            text += self._decoder.flush()
        self._read += len(ids)
        return Piece(text, ids, self._logprobs(drawn)) if ids or text else None

    def _logprobs(self, drawn: Sequence[Token]) -> tuple[Logprob, ...] | None:
        count = self.job.request.logprobs
        if count is None:
            return None
        return tuple(Logprob(scores[0], scores[1][:count]) for _, scores in drawn if scores)

    def _cancel(self) -> None:
        self.job.cancelled = True


def _self_check(model: Model, cache: Cache, token: int, name: str) -> None:
    """One forward pass: NaN weights load without complaint and answer greedily without a sign."""
    logits = model.logits(model.prefill([Chunk([token] * 4, 0, 0)], cache.kv))
    if not torch.isfinite(logits).all():
        raise CheckpointError(
            f"The checkpoint {name} computes values that are not numbers; delete its files and "
            "download it again, or try --dtype float32."
        )
