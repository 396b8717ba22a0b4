"""Asking a membership service which parts of a text stand in a model's training data.

The protocol is that of StarCoder's editor extension: POST {"document": text} to .../overlap, back
come {"spans": [[start, end], ...]}, offsets into the text. Such a service knows no sources, and the
text leaves this machine. What it answers is checked; what it says is never shown.
"""

import asyncio
import functools
import ssl
from collections.abc import Iterable, Mapping
from typing import Annotated

import httpx
from pydantic import BaseModel, Field, ValidationError

from assistant.attribution.overlap import check_length
from assistant.errors import AttributionError

PATIENCE_S = 20  # in all
ANSWER_MAX = 1_000_000  # bytes

_Offset = Annotated[int, Field(ge=0, strict=True)]


class _Answer(BaseModel):
    spans: Annotated[list[tuple[_Offset, _Offset]], Field(max_length=10_000, fail_fast=True)]


async def ask_service(url: str, text: str) -> list[tuple[int, int]]:
    """[(start, end)] of the parts of `text` that the service at `url` knows, in order, none
    touching another. Raises TextError and AttributionError."""
    document = {"document": check_length(text)}
    try:
        async with asyncio.timeout(PATIENCE_S):
            spans = _Answer.model_validate_json(await _post(url, document)).spans
    except TimeoutError:
        raise AttributionError(
            f"The attribution service gave no answer within {PATIENCE_S} seconds."
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL):
        raise AttributionError("The attribution service cannot be reached.") from None
    except ValidationError:
        raise AttributionError(
            "The attribution service sent something that is not a list of spans."
        ) from None
    return _join((start, end) for start, end in spans if start < end <= len(text))


async def _post(url: str, document: Mapping[str, str]) -> bytes:
    """The bytes of the answer. Patience has one clock: from the name's look-up to the last byte."""
    async with (
        httpx.AsyncClient(
            verify=_ssl_context(), timeout=None, headers={"Accept-Encoding": "identity"}
        ) as client,
        client.stream("POST", url, json=document) as response,
    ):
        if response.status_code != 200:
            raise AttributionError(
                f"The attribution service answered with the error {response.status_code}."
            )
        answer = bytearray()
        async for part in response.aiter_raw():  # what is compressed all the same is not JSON
            answer += part
            if len(answer) > ANSWER_MAX:
                raise AttributionError("The attribution service sent too long an answer.")
            await asyncio.sleep(0)  # a part may be a byte, and a thousand of them there at once
        return bytes(answer)


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _join(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found
