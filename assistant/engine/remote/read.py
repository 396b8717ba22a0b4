"""One attempt to have a server write a reply: its events become a job's tokens, and its end.

Trusts nothing that comes: ids are in range, log-probabilities are as many as tokens, and a reply
ends at its limit, whatever the server does. Knows jobs and kinds; not which server it is.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

from assistant.engine.protocol import Logprob
from assistant.engine.remote.http import Fault, ask, detail, events, garbage
from assistant.errors import EngineError

TAIL_S = 2  # for the counts that may come behind a reply's last token
BROKEN = "The connection to the model's server broke before the reply's end; try again."
_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


@dataclass(slots=True)
class _End:
    reason: str
    stop_id: int | None = None
    logprob: Logprob | None = None


async def read_reply(client, kind, job, vocabulary):
    """Puts all of a reply into `job.out`. vocabulary: ids are below it. Raises Fault, and
    AssistantError for a request that is refused."""
    scores, end = None, _End("length")
    if job.request.prompt_logprobs is not None:
        scores = await _scores(client, kind, job.request, vocabulary)
    if job.request.max_new_tokens:
        end = await _stream(client, kind, job, vocabulary)
    job.out.put(
        job.finished(
            end.reason,
            job.new,
            stop_id=end.stop_id,
            stop_logprob=end.logprob,
            prompt_logprobs=scores,
        )
    )


async def _scores(client, kind, request, vocabulary):
    value = await ask(client, "POST", *kind.scoring(request))
    try:
        scores = kind.scores(value, request)
        if all(0 <= token < vocabulary for score in scores[1:] for token, _ in score.top):
            return scores
    except _WRONG:
        pass
    raise garbage("no log-probabilities of the prompt")


async def _stream(client, kind, job, vocabulary):
    """The reply's _End, once its tokens are in `job.out`."""
    prompt = list(job.request.ids) if kind.takes_ids else job.text
    body = kind.body(job.request, prompt)
    end = told = None
    try:
        async with (
            asyncio.timeout(None) as patience,
            aclosing(events(client, kind.path, body)) as values,
        ):
            async for value in values:
                event = _event(kind, value, job.request, vocabulary)
                if event.new_tokens is not None:
                    told, job.cached = event, event.cached_tokens
                if end is None and (end := _take(job, event)):
                    if end.reason == "stop" and event.reason is None:
                        break  # it writes on behind what is a stop for us alone
                    patience.reschedule(asyncio.get_running_loop().time() + TAIL_S)
                if end and told:
                    break
    except (Fault, TimeoutError):
        if end is None:
            raise
    if end is None or end.reason == "abort":
        raise Fault(EngineError(BROKEN), failed=True)
    if told and told.ids is None and not job.ids_known:
        job.new = min(told.new_tokens, job.request.max_new_tokens)
    return end


def _event(kind, value, request, vocabulary):
    """The Event that `value` is. Raises Fault."""
    if value.get("error"):
        raise Fault(EngineError(f"The model's server broke off{detail(value['error'])}."))
    try:
        event = kind.read(value)
        ids, logprobs = event.ids or (), event.logprobs or ()
        told = [*ids, *(token for logprob in logprobs for token, _ in logprob.top)]
        told += [] if event.stop_id is None else [event.stop_id]
        if not all(type(token) is int and 0 <= token < vocabulary for token in told):
            raise ValueError
        if request.logprobs and len(logprobs) != len(ids):
            raise ValueError
        if not isinstance(event.reason, str | None):
            raise ValueError
    except _WRONG as error:
        raise garbage("no piece of a text") from error
    return event


def _take(job, event):
    """Puts what is new into `job.out`; gives the _End where it ends here."""
    request, ids, end = job.request, event.ids, None
    if ids is None:
        if event.text:
            job.put(event.text, (), None)
    else:
        job.ids_known = True
        logprobs = event.logprobs if request.logprobs else None
        stops = request.stop_ids | request.banned_ids  # not every server can be told the latter
        at = next((n for n, token in enumerate(ids) if token in stops), None)
        if at is not None:
            end = _End("stop", ids[at], logprobs[at] if logprobs else None)
        ids = ids[:at][: request.max_new_tokens - job.new]
        if ids:
            job.put(event.text, ids, logprobs and logprobs[: len(ids)])
    if end is None and event.reason:
        named = {"length": "length", "abort": "abort"}
        end = _End(named.get(event.reason, "stop"), event.stop_id)
        if end.reason == "stop" and end.stop_id is None and len(request.stop_ids) == 1:
            (end.stop_id,) = request.stop_ids
    if end is None and job.new >= request.max_new_tokens:
        end = _End("length")
    return end
