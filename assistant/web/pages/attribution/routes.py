"""The route by which the chat's script asks where a reply comes from.

It asks once a reply is there, so no token waits for it; what is found stands in the browser beside
the reply.
"""

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from assistant.web.event_stream import EventStream
from assistant.web.pages.events import explain_error
from assistant.web.sources import Building, Sources

FAILED = "The sources could not be looked up; the server's log says more."


class Body(BaseModel):
    """text: of a reply. service: whether the person wants that the service is asked, too."""

    model_config = ConfigDict(strict=True)

    text: str
    service: bool = False


def sources_router(sources: Sources) -> APIRouter:
    router = APIRouter(prefix="/page")

    @router.post("/sources", response_model=None)
    async def look_up(body: Body) -> EventStream:
        return EventStream(_steps(sources, body), lambda: None)

    return router


async def _steps(sources: Sources, body: Body) -> AsyncGenerator[dict[str, Any] | None, None]:
    """{"building"}, a sentence, until the index is there; then {"matches", "spans", "service",
    "note"}: what of the text stands in the sources, and in what the service knows."""
    answer: dict[str, Any] = {"matches": [], "spans": []}
    notes = []
    try:
        async for step in sources.check(body.text):
            if isinstance(step, Building):
                yield {"building": str(step)}
            else:
                answer["matches"] = step
    except Exception as error:
        notes.append(explain_error(error, FAILED))
    if body.service:
        try:
            spans = await sources.ask_service(body.text)
            answer["spans"] = [{"start": start, "end": end} for start, end in spans]
            answer["service"] = sources.host
        except Exception as error:
            notes.append(explain_error(error, FAILED))
    yield answer | {"note": " ".join(notes)}
