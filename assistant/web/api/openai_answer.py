"""What answers to both kinds of completion have in common: whole, or chunks as they are written.

Knows events and what clients of OpenAI's API read; not what a prompt is.
"""

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import ClassVar

from anyio import to_thread
from fastapi import Request
from fastapi.responses import Response

from assistant.completion.complete import check_count
from assistant.engine.protocol import Engine, Finished
from assistant.errors import RequestError
from assistant.generation.generate import Delta, Done
from assistant.web.api.fields import reading
from assistant.web.api.openai_logprobs import Pair
from assistant.web.api.openai_schema import ChatBody, CompletionBody
from assistant.web.api.replies import Event, Replies, ReplyStream, no_reader, read_replies
from assistant.web.gate.security import Json

FINISH = {"stop": "stop", "length": "length", "cancelled": "abort"}


class Answer:
    """One request. start() submits its replies; opening(index) and choice(...) are entries of
    `choices`: before a stream's first, and for a part of a reply in a stream or for all of it."""

    prefix: ClassVar[str]
    object: ClassVar[str]
    chunk_object: ClassVar[str]

    def __init__(self, engine: Engine, body: ChatBody | CompletionBody, top: int | None) -> None:
        self.engine, self.body, self.top = engine, body, top
        with reading("n"):
            self.count = 1 if body.n is None else check_count("replies", body.n)
        self.finished: dict[int, Finished] = {}  # by index
        self.head = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": engine.model,
        }
        ids = body.return_token_ids
        wanted = (("logprobs", self.top is not None), ("ids", ids), ("tokens", ids))
        for name, needed in wanted:
            if needed and name in engine.limitations:
                key = name if name == "logprobs" else "return_token_ids"
                raise RequestError(engine.limitations[name], key)

    def start(self) -> Replies:
        raise NotImplementedError

    def opening(self, index: int) -> Json | None:
        raise NotImplementedError

    def choice(self, index: int, text: str, tokens: Sequence[Pair], done: Done | None) -> Json:
        raise NotImplementedError

    async def answer(self, request: Request) -> Json | Response:
        if self.body.stream:
            replies = await to_thread.run_sync(self.start)
            openings = [self.opening(index) for index in range(len(replies))]
            before = [self._chunk([choice]) for choice in openings if choice]
            return ReplyStream(replies, self._chunks, before=before, after=self._last)
        texts: dict[int, str] = defaultdict(str)
        tokens: dict[int, list[Pair]] = defaultdict(list)
        ends: dict[int, Done] = {}

        def take(index: int, event: Event) -> None:
            tokens[index] += event.tokens
            if isinstance(event, Delta):
                texts[index] += event.text
            else:
                ends[index] = event
                texts[index] += self.body.shown_stop(event.stop)

        if not await read_replies(request, self.start, take):
            return no_reader()
        self.finished = {index: done.finished for index, done in ends.items()}
        choices = [
            self.choice(index, texts[index], tokens[index], done)
            for index, done in sorted(ends.items())
        ]
        return {**self.head, "object": self.object, "choices": choices, "usage": self._usage()}

    def _chunks(self, index: int, event: Event) -> list[Json]:
        done, text = None, ""
        if isinstance(event, Delta):
            text = event.text
        else:
            done, self.finished[index] = event, event.finished
            text = self.body.shown_stop(done.stop)
        return [self._chunk([self.choice(index, text, event.tokens, done)])]

    def _chunk(self, choices: list[Json], usage: Json | None = None) -> Json:
        chunk = {**self.head, "object": self.chunk_object, "choices": choices}
        return {**chunk, "usage": usage} if self.body.usage_wanted else chunk

    def _last(self) -> list[Json | str]:
        usage = [self._chunk([], self._usage())] if self.body.usage_wanted else []
        return [*usage, "[DONE]"]

    def _usage(self) -> Json:
        """A prompt counts once, however many replies it has."""
        prompts = [end for index, end in self.finished.items() if index % self.count == 0]
        prompt = sum(finished.prompt_tokens for finished in prompts)
        new = sum(finished.new_tokens for finished in self.finished.values())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": new,
            "total_tokens": prompt + new,
            "prompt_tokens_details": {"cached_tokens": sum(f.cached_tokens for f in prompts)},
        }

    def parts(
        self,
        index: int,
        tokens: Sequence[Pair],
        done: Done | None,
        logprobs: Callable[[Sequence[Pair]], Json],
    ) -> Json:
        """What both kinds of choice have. tokens: those of this part. logprobs(tokens): its
        log-probabilities, which are there for the special token that ended the reply, too."""
        if done and done.finished.stop_id is not None:
            tokens = [*tokens, (done.finished.stop_id, done.finished.stop_logprob)]
        choice: Json = {
            "index": index,
            "logprobs": None if self.top is None else logprobs(tokens),
            "finish_reason": FINISH[done.reason] if done else None,
        }
        if self.body.return_token_ids:
            choice["token_ids"] = [token for token, _ in tokens]
        return choice
