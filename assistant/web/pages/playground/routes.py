"""The routes of the playground: what its scripts in the browser ask, JSON and events."""

from collections.abc import Callable
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from assistant.engine.protocol import Engine
from assistant.web.pages.events import ASIDE
from assistant.web.pages.playground.shelves import fill_in, shelves

Value = TypeVar("Value")


class Body(BaseModel):
    model_config = ConfigDict(strict=True)


class Library(Body):
    pass


class Use(Body):
    """values: of the fields of the entry called `name`; who fills it in checks them."""

    name: str
    values: dict[str, Any] = {}


def playground_router(engine: Engine) -> APIRouter:
    router = APIRouter(prefix="/page")
    aside = CapacityLimiter(ASIDE)  # threads that no reply waits for

    async def do_aside(work: Callable[..., Value], *values: Any) -> Value:
        return await to_thread.run_sync(work, *values, limiter=aside)

    @router.post("/library", response_model=None)
    async def library(body: Library) -> dict[str, Any]:
        return await do_aside(shelves, engine.tokenizer)

    @router.post("/library/use", response_model=None)
    async def use(body: Use) -> dict[str, Any]:
        return await do_aside(fill_in, body.name, body.values)

    return router
