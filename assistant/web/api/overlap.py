"""POST /overlap: the protocol of StarCoder's attribution service, over the index of sources here.

So one program's index serves others: `--attribution` of theirs, or an editor's extension.
"""

from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from assistant.attribution.overlap import TEXT_CHARS_MAX
from assistant.web.gate.security import Json
from assistant.web.sources import Building, Sources


class Body(BaseModel):
    model_config = ConfigDict(strict=True)

    document: Annotated[str, Field(max_length=TEXT_CHARS_MAX)]


def overlap_router(sources: Sources, key: Callable[..., object]) -> APIRouter:
    """The route. key: a dependency that checks the key."""
    router = APIRouter(dependencies=[Depends(key)])

    @router.post("/overlap", response_model=None)
    async def overlap(body: Body) -> Json:
        """{"spans": [[start, end], ...]}, in code points, and the matches with their sources; 429
        where too many ask."""
        matches: list[Json] = []
        async with aclosing(sources.check(body.document)) as steps:
            async for step in steps:
                if not isinstance(step, Building):
                    matches = step
        spans = [[match["start"], match["end"]] for match in matches]
        return {"spans": spans, "matches": matches}

    return router
