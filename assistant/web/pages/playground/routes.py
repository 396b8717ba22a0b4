"""The routes of the playground: what its scripts in the browser ask, JSON in, JSON and events."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from assistant.engine.protocol import Engine
from assistant.web.event_stream import EventStream
from assistant.web.pages.aside import Aside
from assistant.web.pages.chat.runs import Runs
from assistant.web.pages.chat.status import Waits
from assistant.web.pages.playground import continuing
from assistant.web.pages.playground.shelves import fill_in, shelves


class Body(BaseModel):
    model_config = ConfigDict(strict=True)


class Library(Body):
    pass


class Use(Body):
    """values: of the fields of the entry called `name`; who fills it in checks them."""

    name: str
    values: dict[str, Any] = {}


class Prompt(Body):
    """segments: [[text, trusted], ...]; whoever reads them checks them. special: whether special
    tokens that trusted text spells count."""

    segments: list[Any]
    special: bool = True


class Look(Prompt):
    """pieces: whether the tokens are listed, too."""

    pieces: bool = False


class Complete(Prompt):
    """begun: ids that all continuations begin with. The rest is checked as of any request."""

    run: Annotated[str, Field(min_length=8, max_length=40)]  # a number that the page made up
    sampling: dict[str, Any] = {}
    max_new_tokens: Any = 256
    stop: Any = ()
    count: Any = 1
    begun: Any = ()


class Inspect(Prompt):
    """text, ids: of what stands behind the prompt."""

    text: str
    ids: Any = None


class Stop(Body):
    run: str


def playground_router(engine: Engine) -> APIRouter:
    router, runs, waits = APIRouter(prefix="/page"), Runs(), Waits()
    looks, shelf, scores = Aside(), Aside(), Aside()  # none of them waits for another

    @router.post("/library", response_model=None)
    async def library(body: Library) -> dict[str, Any]:
        return await shelf.do(shelves, engine.tokenizer)

    @router.post("/library/use", response_model=None)
    async def use(body: Use) -> dict[str, Any]:
        return await shelf.do(fill_in, body.name, body.values)

    @router.post("/look", response_model=None)
    async def look(body: Look) -> dict[str, Any]:
        return await looks.do(continuing.look, engine, body.segments, body.special, body.pieces)

    @router.post("/complete", response_model=None)
    async def complete(body: Complete) -> EventStream:
        values = body.model_dump(exclude={"run", "segments", "sampling"})
        asked = partial(continuing.ask, engine, body.segments, body.sampling, **values)
        versions = await runs.begin(body.run, asked)
        return EventStream(continuing.write(versions, waits), partial(runs.end, body.run))

    @router.post("/complete/stop", response_model=None)
    async def stop(body: Stop) -> dict[str, Any]:
        return {"stopped": runs.stop(body.run)}

    @router.post("/inspect", response_model=None)
    async def inspect(body: Inspect) -> EventStream:
        asked = partial(continuing.score, engine, body.segments, body.text, body.ids)
        scoring = await scores.do(partial(asked, special=body.special))
        return EventStream(continuing.inspect(scoring), scoring.close)

    return router
