"""The OpenAI-compatible API: GET /v1/models, POST /v1/completions, /v1/chat/completions and
/v1/responses.

Knows what these answers look like. Chat messages are never trusted; a raw prompt is what its author
says it is, and ids are taken as they are.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from functools import partial
from itertools import product
from typing import cast

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response

from assistant.chat.assistant import Assistant
from assistant.completion.complete import at_once, check_count, complete, prompt_ids, seeds
from assistant.completion.fill import Filling, fill
from assistant.conversation import Conversation
from assistant.engine.protocol import Engine, Finished
from assistant.errors import HistoryError, RequestError
from assistant.generation.generate import Done
from assistant.generation.reply import Reply
from assistant.sampling import Sampling
from assistant.text import check_prompt, quoted
from assistant.web.api.fields import reading
from assistant.web.api.openai_answer import Answer
from assistant.web.api.openai_logprobs import Pair, chat_logprobs, check_top, completion_logprobs
from assistant.web.api.openai_schema import ChatBody, CompletionBody
from assistant.web.api.replies import Replies
from assistant.web.api.responses import ResponseAnswer, ResponseBody
from assistant.web.api.wanted import read_limit
from assistant.web.gate.security import Json

OWNER = "tech-assistant"  # by which another copy of this program knows that it talks to one
# What standard clients send where a server has one model
PLACEHOLDERS = ("", "default", "dummy", "local-model", "tgi")
MAX_TOKENS = 16  # of a completion that does not say; OpenAI's own default


def openai_router(assistant: Assistant, key: Callable[..., object]) -> APIRouter:
    """The routes. key: a dependency that checks the key."""
    engine = assistant.engine
    router = APIRouter(prefix="/v1", dependencies=[Depends(key)])
    card = {
        "id": engine.model,
        "object": "model",
        "created": int(time.time()),
        "owned_by": OWNER,
        "max_model_len": engine.window,
        "adapter": engine.adapter,
    }

    def check_model(name: str | None) -> None:
        if name not in (None, engine.model, *PLACEHOLDERS):
            raise HTTPException(
                404, f"There is no model {quoted(name)} here; this server has {engine.model}."
            )

    @router.get("/models", response_model=None)
    async def models() -> Json:
        return {"object": "list", "data": [card]}

    @router.get("/models/{model:path}", response_model=None)
    async def model(model: str) -> Json:
        check_model(model)
        return card

    @router.post("/completions", response_model=None)
    async def completions(body: CompletionBody, request: Request) -> Json | Response:
        check_model(body.model)
        return await Completion(engine, body).answer(request)

    @router.post("/chat/completions", response_model=None)
    async def chat(body: ChatBody, request: Request) -> Json | Response:
        check_model(body.model)
        return await ChatCompletion(assistant, body).answer(request)

    @router.post("/responses", response_model=None)
    async def responses(body: ResponseBody, request: Request) -> Json | Response:
        check_model(body.model)
        return await ResponseAnswer(assistant, body).answer(request)

    return router


class Completion(Answer):
    prefix, object, chunk_object = "cmpl", "text_completion", "text_completion"

    body: CompletionBody

    def __init__(self, engine: Engine, body: CompletionBody) -> None:
        super().__init__(engine, body, check_top("logprobs", body.logprobs))
        with reading("prompt" if self.count == 1 else "n"):
            check_count("replies", self.count * len(body.prompts))
        with reading("suffix"):
            if body.suffix:
                check_suffix(body, self.top)
        if body.echo and body.stream and self.top is not None:
            raise RequestError("echo with logprobs cannot be streamed; leave stream out.", "stream")
        self.prompts: list[list[int]] = []  # of each, its ids
        self.echoes: list[str] = []  # and its text, where that is asked for
        # By index: where in the whole text its next token begins.
        self.offsets: dict[int, int] = defaultdict(int)

    def start(self) -> Replies:
        body, engine = self.body, self.engine
        engine.check_room()
        window, least = engine.window, 0 if body.echo else 1
        limit = read_limit("max_tokens", body.max_tokens, window, least)
        limit = min(MAX_TOKENS, window) if limit is None else limit
        options: Json = {"max_new_tokens": limit, "wait_s": 0, **body.ending(self.engine)}

        def seeded() -> list[Sampling]:
            return seeds(body.sampling(Sampling()), self.count)

        if body.suffix:

            def fill_in(prompt: object, sampling: Sampling) -> Filling:
                parts = cast(tuple[str, str], (prompt, body.suffix))
                with reading("suffix"):
                    return fill(engine, parts, sampling=sampling, cut=True, **options)[0]

            pairs = product(body.prompts, seeded())
            return at_once(partial(fill_in, *pair) for pair in pairs)
        tokenizer = engine.tokenizer
        with reading("prompt"):
            self.prompts = [prompt_ids(prompt, tokenizer) for prompt in body.prompts]
        if body.echo:  # as they were sent
            self.echoes = [
                tokenizer.decode(prompt) if isinstance(prompt, list) else prompt
                for prompt in body.prompts
            ]
        if self.top is not None:
            options["logprobs"] = max(self.top, 1)
            options["prompt_logprobs"] = max(self.top, 1) if body.echo else None
        only_echo = body.echo and self.top is None and not limit

        def go_on(ids: list[int], sampling: Sampling) -> Reply | Generator[Done, None, None]:
            if only_echo:
                return _nothing(ids)
            return complete(engine, ids, sampling=sampling, cut=True, **options)

        return at_once(partial(go_on, *pair) for pair in product(self.prompts, seeded()))

    def opening(self, index: int) -> Json | None:
        if not self.body.echo:
            return None
        text = self.echoes[index // self.count]
        return {"index": index, "text": text, "logprobs": None, "finish_reason": None}

    def choice(self, index: int, text: str, tokens: Sequence[Pair], done: Done | None) -> Json:
        before: Sequence[Pair] = ()
        if self.body.echo and not self.body.stream and done:
            ids = self.prompts[index // self.count]
            text = self.echoes[index // self.count] + text
            before = list(zip(ids, done.finished.prompt_logprobs or [None] * len(ids), strict=True))

        def logprobs(tokens: Sequence[Pair]) -> Json:
            pairs, as_ids = [*before, *tokens], self.body.return_tokens_as_token_ids
            # What stands before a document is no part of a text that was sent.
            opens = bool(before) and isinstance(self.body.prompts[index // self.count], str)
            texts = self.engine.tokenizer.texts([token for token, _ in pairs], start=opens)
            start = self.offsets[index]
            self.offsets[index] += sum(map(len, texts))
            decode = self.engine.tokenizer.decode
            return completion_logprobs(pairs, texts, self.top, start, decode, as_ids)

        return {"text": text, **self.parts(index, tokens, done, logprobs)}


def check_suffix(body: CompletionBody, top: int | None) -> None:
    """Raises RequestError."""
    if body.echo or top is not None:
        raise RequestError("suffix cannot be combined with echo or logprobs; leave one out.")
    if any(isinstance(prompt, list) for prompt in body.prompts):
        raise RequestError("suffix needs a prompt of text, not of token ids.")
    check_prompt(body.suffix, "suffix")
    with reading("prompt"):
        for prompt in filter(None, body.prompts):
            check_prompt(prompt)


def _nothing(ids: list[int]) -> Generator[Done, None, None]:
    """The reply of no tokens to a prompt of `ids`, for which no engine is needed."""
    yield Done("", (), "length", None, Finished("length", len(ids), 0, 0, 0.0, 0.0, 0.0))


class ChatCompletion(Answer):
    prefix, object, chunk_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    body: ChatBody

    def __init__(self, assistant: Assistant, body: ChatBody) -> None:
        top = (body.top_logprobs or 0) if body.logprobs else None
        super().__init__(assistant.engine, body, check_top("top_logprobs", top))
        self.assistant = assistant

    def start(self) -> Replies:
        body, assistant = self.body, self.assistant
        assistant.engine.check_room()
        body.check_last()
        with reading("messages"):
            system, conversation = Conversation.from_messages(body.messages)
        window = assistant.engine.window
        limit = read_limit("max_completion_tokens", body.max_completion_tokens, window)
        if limit is None:
            limit = read_limit("max_tokens", body.max_tokens, window)
        ask = partial(
            assistant.reply,
            conversation,
            system=system,
            max_new_tokens=limit,
            cut=True,
            logprobs=None if self.top is None else max(self.top, 1),
            wait_s=0,
            **body.ending(self.engine),
        )
        each = seeds(body.sampling(assistant.template.sampling), self.count)
        with reading("messages", HistoryError):
            return at_once(partial(ask, sampling=seeded) for seeded in each)

    def opening(self, index: int) -> Json:
        delta = {"role": "assistant", "content": ""}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def choice(self, index: int, text: str, tokens: Sequence[Pair], done: Done | None) -> Json:
        message = {"content": text} if text or not self.body.stream else {}
        if not self.body.stream:
            message["role"] = "assistant"

        def logprobs(tokens: Sequence[Pair]) -> Json:
            as_ids = self.body.return_tokens_as_token_ids
            return chat_logprobs(tokens, self.top, self.engine.tokenizer, as_ids)

        parts = self.parts(index, tokens, done, logprobs)
        return {"delta" if self.body.stream else "message": message, **parts}
