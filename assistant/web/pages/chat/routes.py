"""The routes of the chat: what its scripts in the browser ask, JSON in, JSON or events out.

The conversations live in the visitor's browser: with each request comes the open path of one, and
back goes what a reply adds to it. The server keeps nothing but the reply that is being written.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from assistant.conversation import TURNS_MAX
from assistant.errors import AssistantError, TextError
from assistant.text import PROMPT_CHARS_MAX
from assistant.web.event_stream import EventStream
from assistant.web.pages.chat import requests
from assistant.web.pages.chat.markdown import Part, render
from assistant.web.pages.chat.runs import Runs
from assistant.web.pages.chat.status import Waits
from assistant.web.pages.chat.stream import write, write_again
from assistant.web.pages.chat.templates import Assistants
from assistant.web.pages.chat.typed import render_typed
from assistant.web.pages.events import ASIDE

PARTS_MAX = 100  # marked in one reply
Value = TypeVar("Value")
Run = Annotated[str, Field(min_length=8, max_length=40)]  # a number that the page made up


class Body(BaseModel):
    model_config = ConfigDict(strict=True)


class Path(Body):
    """turns: the newest of the open path; whoever reads them checks them."""

    turns: list[Any] = []
    settings: dict[str, Any] = {}


class Chat(Path):
    """text: of a new message. Without it, another reply to the message that the turns end with, or
    more of the reply that they end with. begin: what the reply begins with."""

    run: Run
    text: str | None = None
    begin: str = ""


class Again(Path):
    run: Run
    receipt: Any


class Count(Path):
    text: str = ""
    begin: str = ""


class Prompt(Path):
    """receipt: of the reply that the turns end with, where it has one."""

    to: Literal["see", "playground"]
    receipt: Any = None


class Stop(Body):
    run: str


class Mark(Body):
    start: int
    end: int
    kind: Literal["short", "long", "known"]


class Text(Body):
    """said: by a person, so it is shown to the letter but for its fences."""

    text: str
    said: bool = False
    marks: Annotated[list[Mark], Field(max_length=PARTS_MAX, fail_fast=True)] = []


class Render(Body):
    replies: Annotated[list[Text], Field(max_length=TURNS_MAX, fail_fast=True)]


def chat_router(assistants: Assistants, facts: Callable[[], dict[str, Any]]) -> APIRouter:
    """facts: gives what the page's scripts must know of this server."""
    router, runs, waits = APIRouter(prefix="/page"), Runs(), Waits()
    aside = CapacityLimiter(ASIDE)  # threads that no reply waits for

    async def do_aside(work: Callable[..., Value], *values: Any) -> Value:
        return await to_thread.run_sync(work, *values, limiter=aside)

    @router.get("/facts", response_model=None)
    async def tell_facts() -> dict[str, Any]:
        return facts()

    @router.post("/chat", response_model=None)
    async def chat(body: Chat) -> EventStream:
        path = assistants, body.turns, body.settings
        ask = partial(requests.reply, *path, body.begin)
        if body.text is not None:
            ask = partial(requests.message, *path, body.text, body.begin)
        request = await runs.begin(body.run, ask)
        return EventStream(write(request, waits), partial(runs.end, body.run))

    @router.post("/again", response_model=None)
    async def again(body: Again) -> EventStream:
        ask = partial(requests.repeat, assistants, body.turns, body.receipt)
        request = await runs.begin(body.run, ask)
        return EventStream(write_again(request, assistants.engine), partial(runs.end, body.run))

    @router.post("/stop", response_model=None)
    async def stop(body: Stop) -> dict[str, Any]:
        return {"stopped": runs.stop(body.run)}

    @router.post("/count", response_model=None)
    async def count(body: Count) -> dict[str, Any]:
        try:
            path = assistants, body.turns, body.settings
            return await do_aside(requests.count, *path, body.text, body.begin)
        except AssistantError as error:  # a draft that is too long is no mistake yet
            return {"error": str(error)}

    @router.post("/prompt", response_model=None)
    async def prompt(body: Prompt) -> dict[str, Any]:
        work = requests.show_prompt if body.to == "see" else requests.prompt_for_playground
        return await do_aside(work, assistants, body.turns, body.settings, body.receipt)

    @router.post("/render", response_model=None)
    async def render_replies(body: Render) -> dict[str, Any]:
        if sum(len(reply.text) for reply in body.replies) > PROMPT_CHARS_MAX:  # together as one
            raise TextError(
                f"At most {PROMPT_CHARS_MAX:,} characters of replies can be shown at once."
            )
        return {"html": await do_aside(_render, body.replies)}

    return router


def _render(replies: list[Text]) -> list[str]:
    return [
        render_typed(reply.text)
        if reply.said
        else render(reply.text, [Part(mark.start, mark.end, mark.kind) for mark in reply.marks])
        for reply in replies
    ]
