"""One attempt to have a server write a reply: its events become a job's tokens, and its end.

Trusts nothing that comes: ids are in range, log-probabilities are as many as tokens, and a reply
ends at its limit, whatever the server does. Knows jobs and kinds; not which server it is.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import cast

import httpx

from assistant.engine.protocol import Logprob, Reason, Request
from assistant.engine.remote.completions import Completions
from assistant.engine.remote.dialects import JSON, Dialect
from assistant.engine.remote.events import Event
from assistant.engine.remote.http import BROKEN, Fault, ask, detail, events, garbage
from assistant.engine.remote.job import Job
from assistant.errors import EngineError

TAIL_S = 2  # for the counts that may come behind a reply's last token
_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


@dataclass(slots=True)
class _End:
    reason: Reason
    stop_id: int | None = None
    logprob: Logprob | None = None
    ours: bool = False  # the server writes on behind it


async def read_reply(client: httpx.AsyncClient, kind: Dialect, job: Job, vocabulary: int) -> None:
    """Puts all of a reply into `job.out`. vocabulary: ids are below it. Raises Fault, and
    AssistantError for a request that is refused."""
    scores, end = None, _End("length")
    if job.request.prompt_logprobs is not None:
        scores = await _scores(client, cast(Completions, kind), job.request, vocabulary)
    if job.request.max_new_tokens:
        end = await _stream(client, kind, job, vocabulary)
    job.out.put(
        job.finished(
            end.reason,
            job.generated,
            stop_id=end.stop_id,
            stop_logprob=end.logprob,
            prompt_logprobs=scores,
        )
    )


async def _scores(
    client: httpx.AsyncClient, kind: Completions, request: Request, vocabulary: int
) -> tuple[Logprob | None, ...]:
    value = await ask(client, "POST", *kind.scoring(request))
    try:
        scores = kind.scores(value, request)
        tops = [score.top for score in scores if score]
        if all(0 <= token < vocabulary for top in tops for token, _ in top):
            return scores
    except _WRONG:
        pass
    raise garbage("no log-probabilities of the prompt")


async def _stream(client: httpx.AsyncClient, kind: Dialect, job: Job, vocabulary: int) -> _End:
    """The reply's _End, once its tokens are in `job.out`."""
    job.counted = end = None
    async with aclosing(_events(client, kind, job, vocabulary)) as stream:
        while end is None:
            event = await anext(stream, None)
            if event is None:
                raise Fault(EngineError(BROKEN), failed=True)
            end = _put(job, event)
        if not end.ours:
            await _read_counts(stream, job)
    if job.counted is not None and not job.ids_known:
        job.generated = min(job.counted, job.request.max_new_tokens)
    return end


async def _events(
    client: httpx.AsyncClient, kind: Dialect, job: Job, vocabulary: int
) -> AsyncGenerator[Event, None]:
    """What the server sends. What it says of the reply as a whole is kept in `job`."""
    prompt = list(job.request.ids) if kind.takes_ids or job.text is None else job.text
    async with aclosing(events(client, kind.path, kind.body(job.request, prompt))) as values:
        async for value in values:
            event = _event(kind, value, job.request, vocabulary)
            job.ids_known = job.ids_known or event.ids is not None
            if event.new_tokens is not None:
                job.counted, job.cached = event.new_tokens, event.cached_tokens
            yield event


async def _read_counts(stream: AsyncGenerator[Event, None], job: Job) -> None:
    """Those that may come behind a reply's last token; whatever else comes there is left."""
    with suppress(Fault, TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(TAIL_S):
            while job.counted is None:
                await anext(stream)


def _event(kind: Dialect, value: JSON, request: Request, vocabulary: int) -> Event:
    """The Event that `value` is. Raises Fault."""
    if value.get("error"):
        why = detail(value["error"])
        raise Fault(EngineError(f"The model's server broke off{why}."), said=why)
    try:
        event = kind.read(value)
        ids, logprobs = event.ids or (), event.logprobs or ()
        named = [*ids, *(token for logprob in logprobs for token, _ in logprob.top)]
        named += [] if event.stop_id is None else [event.stop_id]
        if not all(type(token) is int and 0 <= token < vocabulary for token in named):
            raise ValueError
        if request.logprobs and len(logprobs) != len(ids):
            raise ValueError
        if not isinstance(event.reason, str | None):
            raise ValueError
    except _WRONG as error:
        raise garbage("not a piece of a text") from error
    return event


def _put(job: Job, event: Event) -> _End | None:
    """Puts what is new into `job.out`; gives the _End where it ends here. Raises Fault."""
    request, end = job.request, None
    if event.ids is not None:
        logprobs = event.logprobs if request.logprobs else None
        stops = request.stop_ids | request.banned_ids  # not every server can be told the latter
        at = next((n for n, token in enumerate(event.ids) if token in stops), None)
        if at is not None:
            stop_logprob = logprobs[at] if logprobs else None
            end = _End("stop", event.ids[at], stop_logprob, ours=event.reason is None)
        if ids := event.ids[:at][: request.max_new_tokens - job.generated]:
            job.put(event.text, ids, logprobs and logprobs[: len(ids)])
    elif event.text:
        job.put(event.text, (), None)
    if end is None and event.reason == "abort":
        raise Fault(EngineError(BROKEN), failed=True)
    if end is None and event.reason == "length":
        end = _End("length", event.stop_id)
    if end is None and event.reason:
        known = next(iter(request.stop_ids)) if len(request.stop_ids) == 1 else None
        end = _End("stop", known if event.stop_id is None else event.stop_id)
    if end is None and job.generated >= request.max_new_tokens:
        end = _End("length")
    return end
