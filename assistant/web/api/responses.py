"""POST /v1/responses, OpenAI's newer API, in its plain text form: a message in, a message out.

Knows what these answers and events look like. Nothing is kept: what was said before is sent again.
"""

import json
import secrets
import time
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Request
from fastapi.responses import Response
from pydantic import Field, field_validator

from assistant.chat.assistant import Assistant
from assistant.conversation import Conversation
from assistant.errors import HistoryError
from assistant.generation.generate import Delta, Done
from assistant.text import check_message, quoted, replace_surrogates
from assistant.web.api.fields import MEMORY, reading
from assistant.web.api.replies import (
    Event,
    Explanation,
    Replies,
    ReplyStream,
    no_reader,
    read_end,
)
from assistant.web.api.wanted import Wanted, Whole, read_limit
from assistant.web.gate.security import Json, plain_error

STATUS = {"stop": "completed", "length": "incomplete", "cancelled": "cancelled"}
TEXT_PARTS = ("input_text", "output_text", "text")


class ResponseBody(Wanted):
    input: str | Annotated[list[dict[str, Any]], Field(fail_fast=True)]
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: Whole | None = None
    stream: bool | None = None
    stream_options: Json | None = None
    text: Json | None = None
    prompt: Any = None  # one that is kept there

    @field_validator("text")
    @classmethod
    def _no_verbosity(cls, value: Json | None) -> Json | None:
        if value and value.get("verbosity") not in (None, "medium"):
            raise ValueError('must have "medium" as its verbosity, the only one here')
        return value

    @field_validator("prompt")
    @classmethod
    def _no_prompt(cls, value: object) -> None:
        if value and isinstance(value, dict):
            raise ValueError(MEMORY)

    @property
    def formats(self) -> Json:
        return {**super().formats, "text.format": (self.text or {}).get("format")}

    @property
    def messages(self) -> list[Json]:
        """As chat completions have them. Raises HistoryError."""
        if isinstance(self.input, str):
            return [{"role": "user", "content": self.input}]
        return [_message(index, item) for index, item in enumerate(self.input)]


def _message(index: int, item: Json) -> Json:
    kind = item.get("type", "message")
    if kind != "message":
        raise HistoryError(
            f"Item {index + 1} of input has the type {quoted(kind)}; only messages are taken here."
        )
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    known = [
        {**part, "type": "text"}
        if isinstance(part, dict) and part.get("type") in TEXT_PARTS
        else part
        for part in parts
    ]
    return {"role": item.get("role"), "content": known or content}


class ResponseAnswer:
    """One request, and the events that tell of it."""

    def __init__(self, assistant: Assistant, body: ResponseBody) -> None:
        self.assistant, self.body = assistant, body
        self.id, self.item_id = (f"{kind}_{secrets.token_hex(12)}" for kind in ("resp", "msg"))
        self.created = int(time.time())
        self.sent = 0  # events

    def start(self) -> Replies:
        body, assistant = self.body, self.assistant
        assistant.engine.check_room()
        with reading("input"):
            system, conversation = Conversation.from_messages(body.messages)
        if body.instructions and body.instructions.strip():
            with reading("instructions"):
                system = "\n\n".join(filter(None, (check_message(body.instructions), system)))
        window = assistant.engine.window
        sampling = body.sampling(assistant.template.sampling)
        with reading("input", HistoryError):
            reply = assistant.reply(
                conversation,
                system=system,
                sampling=sampling,
                max_new_tokens=read_limit("max_output_tokens", body.max_output_tokens, window),
                cut=True,
                wait_s=0,
                **body.ending(assistant.engine),
            )
        self.sampling = reply.sampling
        return [reply]

    async def answer(self, request: Request) -> Json | Response:
        if self.body.stream:
            replies = await to_thread.run_sync(self.start)
            return ReplyStream(
                replies, self._events, before=self._opening(), write_error=self._error
            )
        done = await read_end(request, self.start)
        if done is None:
            return no_reader()
        return self._response(done)

    def _opening(self) -> list[Json]:
        return [
            self._event("response.created", response=self._response(None)),
            self._event("response.in_progress", response=self._response(None)),
            self._event("response.output_item.added", output_index=0, item=self._item(None)),
            self._event("response.content_part.added", **self._place, part=_part("")),
        ]

    def _events(self, _: int, event: Event) -> list[Json]:
        place = self._place
        if isinstance(event, Delta):
            delta = {"delta": event.text, "logprobs": []}
            return [self._event("response.output_text.delta", **place, **delta)]
        text, end = event.text, "completed" if event.reason == "stop" else "incomplete"
        return [
            self._event("response.output_text.done", **place, text=text, logprobs=[]),
            self._event("response.content_part.done", **place, part=_part(text)),
            self._event("response.output_item.done", output_index=0, item=self._item(event)),
            self._event(f"response.{end}", response=self._response(event)),
        ]

    def _error(self, why: Explanation) -> list[Json]:
        error = plain_error(*why)[1]["error"]
        told = {name: error[name] for name in ("code", "message", "param")}
        return [self._event("error", **told, error=error)]

    def _event(self, kind: str, **values: object) -> Json:
        self.sent += 1
        return {"type": kind, "sequence_number": self.sent - 1, **values}

    @property
    def _place(self) -> Json:
        return {"item_id": self.item_id, "output_index": 0, "content_index": 0}

    def _item(self, done: Done | None) -> Json:
        """The message that is the answer; None: before it was begun."""
        status = "in_progress" if done is None else STATUS[done.reason]
        item = {"id": self.item_id, "type": "message", "role": "assistant", "content": []}
        if done is None:
            return {**item, "status": status}
        status = "incomplete" if status == "cancelled" else status
        return {**item, "status": status, "content": [_part(done.text)]}

    def _response(self, done: Done | None) -> Json:
        body = self.body
        cut = {"reason": "max_output_tokens"} if done and done.reason == "length" else None
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": STATUS[done.reason] if done else "in_progress",
            "error": None,
            "incomplete_details": cut,
            "instructions": body.instructions and replace_surrogates(body.instructions),
            "max_output_tokens": body.max_output_tokens,
            "metadata": {},
            "model": self.assistant.engine.model,
            "output": [self._item(done)] if done else [],
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "store": False,
            "temperature": self.sampling.temperature,
            "text": {"format": _echoed(body.formats["text.format"]) or {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": self.sampling.top_p,
            "truncation": "auto",
            "usage": _usage(done) if done else None,
        }


def _echoed(value: Json | None) -> Any:
    """What was sent, as it can be sent back: half a character cannot."""
    return json.loads(replace_surrogates(json.dumps(value, ensure_ascii=False)))


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(done: Done) -> Json:
    finished = done.finished
    return {
        "input_tokens": finished.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": finished.cached_tokens,
            "cache_write_tokens": finished.prompt_tokens - finished.cached_tokens,
        },
        "output_tokens": finished.new_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": finished.prompt_tokens + finished.new_tokens,
    }
