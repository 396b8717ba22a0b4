"""The API of text-generation-inference: POST /generate, /generate_stream and /, GET /info.

Knows what huggingface_hub's InferenceClient and editors' plug-ins send and read. Prompts are raw:
what spells a special token becomes it, so that plug-ins can fill in the middle.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, field_validator

from assistant.completion.complete import complete, prompt_ids
from assistant.engine.protocol import Engine, Logprob
from assistant.generation.generate import Delta, Done
from assistant.generation.reply import Reply
from assistant.sampling import STOPS_MAX, Sampling, check_logprobs
from assistant.web.api.replies import Event, Explanation, ReplyStream, no_reader, read_replies
from assistant.web.api.wanted import Wanted, Whole, read_limit
from assistant.web.gate.security import Json

MAX_NEW_TOKENS = 100  # where a request does not say, as in that server
PLAIN = Sampling(temperature=1.0, top_p=1.0)  # and as it draws, then

# A token, and the likeliest ones in its place, where they are asked for
Written: TypeAlias = tuple[Json, list[Json] | None]


class Parameters(Wanted):
    """The generation parameters, and further ones of the other APIs."""

    do_sample: bool | None = None
    max_new_tokens: Whole | None = None
    truncate: Whole | None = None
    return_full_text: bool | None = None
    details: bool | None = None
    decoder_input_details: bool | None = None
    best_of: Whole | None = None
    top_n_tokens: Whole | None = None

    @field_validator("best_of")
    @classmethod
    def _best_of(cls, value: int | None) -> int | None:
        if value and value != 1:
            raise ValueError("must be 1: there is one reply")
        return value

    @field_validator("truncate")
    @classmethod
    def _truncate(cls, value: int | None) -> int | None:
        if value is not None and value < 1:
            raise ValueError("must be at least 1")
        return value

    def sampling(self, default: Sampling = PLAIN) -> Sampling:
        """Greedy, unless sampling or something that it needs was asked for."""
        drawn = self.do_sample or {self.temperature, self.top_p, self.top_k, self.typical_p} != {
            None
        }
        return super().sampling(default if drawn else replace(default, temperature=0))


class Body(BaseModel):
    model_config = ConfigDict(strict=True)

    inputs: str
    parameters: Parameters | None = None


class RootBody(Body):
    stream: bool | None = None


def tgi_error(
    status: int, sentence: str, code: str | None = None, param: str | None = None
) -> tuple[int, Json]:
    """(status, body) of an error as that server has them; 503 is for an engine that is dead."""
    if code != "engine_dead":
        status = {400: 422, 503: 424}.get(status, status)
    kind = "validation" if status < 500 and status != 424 else "generation"
    kind = "overloaded" if status == 429 else kind
    body = {"error": sentence, "error_type": kind, "detail": sentence}
    if status in (401, 403):  # no kind of that server's: clients go by the status then
        del body["error_type"]
    return status, body


TGI_ERRORS = {
    ("GET", "/info"): tgi_error,
    **{("POST", path): tgi_error for path in ("/", "/generate", "/generate_stream")},
}


def tgi_router(engine: Engine, key: Callable[..., object]) -> APIRouter:
    """The routes. key: a dependency that checks the key."""
    router = APIRouter(dependencies=[Depends(key)])

    @router.get("/info", response_model=None)
    async def info() -> Json:
        status = engine.status()
        return {
            "model_id": engine.model,
            "model_sha": engine.revision,
            "max_total_tokens": engine.window,
            "max_input_tokens": engine.window - 1,
            "max_input_length": engine.window - 1,  # its older name, which Continue reads
            "max_stop_sequences": STOPS_MAX,
            "max_best_of": 1,
            "max_concurrent_requests": status.slots,
            "router": "tech-assistant",
        }

    @router.post("/generate", response_model=None)
    async def generate(body: Body, request: Request) -> Json | Response:
        return await Generation(engine, body).whole(request)

    @router.post("/generate_stream")
    async def generate_stream(body: Body) -> ReplyStream:
        return await Generation(engine, body).stream()

    @router.post("/", response_model=None)
    async def root(body: RootBody, request: Request) -> list[Any] | Response:
        generation = Generation(engine, body)
        if body.stream:
            return await generation.stream()
        answer = await generation.whole(request)
        return [answer] if isinstance(answer, dict) else answer

    return router


class Generation:
    """One request. Each token is an event of its own; the last carries the whole text."""

    def __init__(self, engine: Engine, body: Body) -> None:
        self.engine, self.inputs = engine, body.inputs
        self.parameters = body.parameters or Parameters()
        self.special = set(engine.tokenizer.special.values())
        self.count = 0  # events that were sent
        self.held: Written | None = None  # the newest token, not yet sent
        self.length = 0  # characters of the reply's text that its tokens so far have

    def start(self) -> list[Reply]:
        asked, engine = self.parameters, self.engine
        engine.check_room()
        whole = prompt_ids(self.inputs, engine.tokenizer)
        self.ids = whole[-(asked.truncate or 0) :]
        self.cut = self.ids != whole
        kept = engine.tokenizer.decode(self.ids) if self.cut else self.inputs
        self.before = kept if asked.return_full_text else ""
        known = check_logprobs(asked.top_n_tokens, "top_n_tokens", least=0)
        if not known and "logprobs" not in engine.limitations:
            known = 1
        limit = read_limit("max_new_tokens", asked.max_new_tokens, engine.window)
        limit = min(MAX_NEW_TOKENS, engine.window) if limit is None else limit
        self.reply = complete(
            engine,
            self.ids,
            sampling=asked.sampling(),
            max_new_tokens=limit,
            cut=True,
            logprobs=known or None,
            prompt_logprobs=1 if asked.decoder_input_details else None,
            wait_s=0,
            **asked.ending(engine),
        )
        return [self.reply]

    async def whole(self, request: Request) -> Json | Response:
        tokens: list[Written] = []
        ends: list[Done] = []

        def take(_: int, event: Event) -> None:
            tokens.extend(self._tokens(event))
            if not isinstance(event, Delta):
                ends.append(event)

        if not await read_replies(request, self.start, take):
            return no_reader()
        (done,) = ends
        answer: Json = {"generated_text": self.before + done.text}
        if self.parameters.details or self.parameters.decoder_input_details:
            prefill = self._prefill(done) if self.parameters.decoder_input_details else []
            details: Json = {"prefill": prefill, "tokens": [token for token, _ in tokens]}
            if self.parameters.top_n_tokens:
                details["top_tokens"] = [likeliest or [] for _, likeliest in tokens]
            answer["details"] = {**self._details(done), **details}
        return answer

    async def stream(self) -> ReplyStream:
        replies = await to_thread.run_sync(self.start)
        return ReplyStream(replies, self._events, write_error=self._error)

    def _events(self, _: int, event: Event) -> list[Json]:
        tokens = [self.held, *self._tokens(event)] if self.held else self._tokens(event)
        if isinstance(event, Delta):
            self.held = tokens.pop() if tokens else None
            return [self._event(token) for token in tokens]
        last = tokens.pop() if tokens else self._token(self.engine.tokenizer.eos_id, "", None)
        sent = [self._event(token) for token in tokens]
        return [*sent, self._event(last, self.before + event.text, self._details(event))]

    def _error(self, explanation: Explanation) -> list[Json]:
        held = [self._event(self.held)] if self.held else []
        return [*held, tgi_error(*explanation)[1]]

    def _event(
        self,
        written: Written,
        text: str | None = None,
        details: Json | None = None,
    ) -> Json:
        self.count += 1
        token, likeliest = written
        event = {"index": self.count, "token": token, "generated_text": text, "details": details}
        return event if likeliest is None else {**event, "top_tokens": likeliest}

    def _tokens(self, event: Event) -> list[Written]:
        """The tokens that come with an event; behind the last, the one that ended the reply. Text
        that belongs to none, of an engine that gives no ids or before a stop, is one without id."""
        texts = self.engine.tokenizer.texts([token for token, _ in event.tokens])
        tokens = [self._token(token, text, known)
                  for (token, known), text in zip(event.tokens, texts, strict=True)]  # fmt: skip
        self.length += sum(map(len, texts))
        if isinstance(event, Done):
            rest = event.text[self.length :]
        else:
            rest = event.text if event.bare else ""
        if rest:
            tokens.append(self._token(None, rest, None))
            self.length += len(rest)
        if isinstance(event, Done) and event.finished.stop_id is not None:
            stop = event.finished.stop_id
            (text,) = self.engine.tokenizer.texts([stop])
            tokens.append(self._token(stop, text, event.finished.stop_logprob))
        return tokens

    def _token(self, token: int | None, text: str, known: Logprob | None) -> Written:
        likeliest, count = None, self.parameters.top_n_tokens
        if known and count:
            decode = self.engine.tokenizer.decode
            likeliest = [self._entry(t, decode([t]), value) for t, value in known.top[:count]]
        return self._entry(token, text, known.logprob if known else None), likeliest

    def _entry(self, token: int | None, text: str, logprob: float | None) -> Json:
        return {"id": token, "text": text, "logprob": logprob, "special": token in self.special}

    def _details(self, done: Done) -> Json:
        stopped = "eos_token" if done.finished.stop_id is not None else "stop_sequence"
        return {
            "finish_reason": {"stop": stopped, "cancelled": "abort"}.get(done.reason, done.reason),
            "generated_tokens": done.finished.new_tokens,
            "input_length": len(self.ids),
            "seed": self.reply.sampling.seed,
        }

    def _prefill(self, done: Done) -> list[Json]:
        texts = self.engine.tokenizer.texts(self.ids, start=not self.cut)
        known: Sequence[Logprob | None] = done.finished.prompt_logprobs or [None] * len(texts)
        pairs = zip(self.ids, texts, known, strict=True)
        return [{"id": i, "text": t, "logprob": k.logprob if k else None} for i, t, k in pairs]
