"""What editors use of llama.cpp's own API: POST /infill and /completion, GET /props.

Knows that server's keys and answers. A prompt is raw; what stands around a gap is text.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from assistant.chat.assistant import Assistant
from assistant.completion.complete import complete, prompt_ids
from assistant.completion.fill import fill
from assistant.engine.protocol import Engine, Finished
from assistant.generation.generate import Delta, Done
from assistant.sampling import Sampling
from assistant.text import check_prompt
from assistant.web.api.fields import reading
from assistant.web.api.replies import Event, Replies, ReplyStream, no_reader, read_end
from assistant.web.api.wanted import Ids, Texts, Wanted, Whole, read_limit
from assistant.web.gate.security import Json

EXTRA_SHARE = 1 / 2  # of the room that is left, which further files may have
TOKEN_CHARS = 8  # more than a token of code has, so that no more text is looked at than may be used


class Body(Wanted):
    """What both routes take. n_predict: -1 for as many as the window leaves, 0 reads the prompt
    only. response_fields: the keys that the answer is to have, "timings/prompt_n" for a nested
    one."""

    n_predict: Whole | None = None
    stream: bool | None = None
    response_fields: Texts | None = None


class CompletionBody(Body):
    prompt: str | Ids


class File(BaseModel):
    model_config = ConfigDict(strict=True)
    text: str


class InfillBody(Body):
    """prompt: what stands behind input_prefix, on the line of the gap. input_extra: further files,
    the nearest one last. Editors send the others with each key that is typed; they tell how fast an
    answer must be, and how far it may reach, which no reply depends on here."""

    input_prefix: str = ""
    input_suffix: str = ""
    prompt: str = ""
    input_extra: Annotated[list[File], Field(fail_fast=True)] | None = None
    samplers: Any = None
    n_indent: Any = None
    t_max_prompt_ms: Any = None
    t_max_predict_ms: Any = None


def llama_router(assistant: Assistant, key: Callable[..., object]) -> APIRouter:
    """The routes. key: a dependency that checks the key."""
    engine = assistant.engine
    router = APIRouter(dependencies=[Depends(key)])

    @router.get("/props", response_model=None)
    async def props() -> Json:
        return {
            "default_generation_settings": {"n_ctx": engine.window},
            "total_slots": engine.status().slots,
            "model_path": engine.model,
            "model_alias": engine.model,
            "chat_template": assistant.template.to_jinja(),
            "modalities": {"vision": False, "audio": False},
            "build_info": "tech-assistant",
        }

    @router.post("/completion", response_model=None)
    async def completion(body: CompletionBody, request: Request) -> Json | Response:
        return await Answer(engine, body).answer(request)

    @router.post("/infill", response_model=None)
    async def infill(body: InfillBody, request: Request) -> Json | Response:
        return await Answer(engine, body).answer(request)

    return router


class Answer:
    """One request."""

    def __init__(self, engine: Engine, body: CompletionBody | InfillBody) -> None:
        self.engine, self.body = engine, body
        self.only_read = body.n_predict == 0

    def start(self) -> Replies:
        body, engine = self.body, self.engine
        engine.check_room()
        least = read_limit("n_predict", body.n_predict, engine.window, 0)
        options: Json = {
            "sampling": body.sampling(Sampling()),
            "max_new_tokens": engine.window if least is None else max(least, 1),
            "cut": True,
            "wait_s": 0,
            **body.ending(engine),
        }
        if isinstance(body, CompletionBody):
            with reading("prompt"):
                ids = prompt_ids(body.prompt, engine.tokenizer)
            return [complete(engine, ids, **options)]
        before = body.input_prefix + body.prompt
        for name in ("input_prefix", "prompt", "input_suffix"):
            with reading(name):
                if part := getattr(body, name):
                    check_prompt(part, name)
        check_prompt(before + body.input_suffix)
        if files := [file.text for file in body.input_extra or ()]:
            before = self._end(files, before + body.input_suffix) + before
        return fill(engine, (before, body.input_suffix), **options)

    def _end(self, files: list[str], beside: str) -> str:
        """The end of further files, as far as it finds room beside a text."""
        tokenizer = self.engine.tokenizer
        left = self.engine.window - len(tokenizer.encode(beside))
        room = int(max(left, 0) * EXTRA_SHARE)
        text = "".join(f"{file}\n\n" for file in files)[-room * TOKEN_CHARS :]
        ids = tokenizer.encode(text)[-room:] if room else []
        return tokenizer.decode(ids).lstrip("\ufffd")  # a character that is cut through

    async def answer(self, request: Request) -> Json | Response:
        if self.body.stream:
            replies = await to_thread.run_sync(self.start)
            return ReplyStream(replies, self._events)
        done = await read_end(request, self.start)
        if done is None:
            return no_reader()
        whole = self._last(done, "" if self.only_read else done.text)
        return _chosen(whole, self.body.response_fields)

    def _events(self, _: int, event: Event) -> list[Json]:
        if isinstance(event, Done):
            return [self._last(event, "")]
        if self.only_read or not isinstance(event, Delta):
            return []
        tokens = [token for token, _ in event.tokens]
        return [{"index": 0, "content": event.text, "tokens": tokens, "stop": False}]

    def _last(self, done: Done, content: str) -> Json:
        if self.only_read:  # the one token that was written for it is not given out
            done = replace(done, finished=replace(done.finished, new_tokens=0))
        finished, word = done.finished, done.stop if done.finished.stop_id is None else None
        ended = "eos" if finished.stop_id is not None else "word" if word else "none"
        return {
            "index": 0,
            "content": content,
            "stop": True,
            "model": self.engine.model,
            "tokens_predicted": finished.new_tokens,
            "tokens_evaluated": finished.prompt_tokens,
            "tokens_cached": finished.cached_tokens,
            "truncated": False,
            "stop_type": "limit" if done.reason == "length" else ended,
            "stopping_word": word or "",
            "timings": _timings(finished),
        }


def _timings(finished: Finished) -> Json:
    read = finished.prompt_tokens - finished.cached_tokens
    read_s, wrote_s = finished.ttft_s - finished.waited_s, finished.total_s - finished.ttft_s
    timings: Json = {"cache_n": finished.cached_tokens}
    for name, count, seconds in (
        ("prompt", read, read_s),
        ("predicted", finished.new_tokens, wrote_s),
    ):
        timings |= {
            f"{name}_n": count,
            f"{name}_ms": 1000 * seconds,
            f"{name}_per_token_ms": 1000 * seconds / count if count else 0.0,
            f"{name}_per_second": count / seconds if seconds > 0 else 0.0,
        }
    return timings


def _chosen(answer: Json, names: list[str] | None) -> Json:
    """The answer's `names`, where some are asked for; those that it does not have are left out."""
    if not names:
        return answer
    flat = answer | {f"timings/{name}": value for name, value in answer["timings"].items()}
    return {name: flat[name] for name in names if name in flat}
