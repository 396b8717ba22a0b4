"""Asking a server over HTTP: JSON answers, server-sent events, and one sentence for each fault.

Knows bytes, limits and patience; no models and no tokens. Nothing that a server sends is trusted:
lines and answers have a length, silence has an end. Sentences name no address, since visitors read
them; whoever runs the program finds it in the log.
"""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx

from assistant.errors import EngineBusy, EngineError, RequestError

CONNECT_S = 5
SILENCE_S = 120  # without an answer, or without a whole line of it: a long prompt takes a while
LINE_MAX = 1 << 20  # bytes of an event
ANSWER_MAX = 64 << 20  # bytes of an answer: 20 log-probabilities for each token of a long window
DETAIL_MAX = 200  # characters of what a server says about an error


class Fault(Exception):
    """An attempt failed. error: what the person reads. failed: the server had better be left alone
    for a while. again: the same server may be asked once more; else only another one."""

    def __init__(self, error, *, failed=False, again=True):
        super().__init__(str(error))
        self.error, self.failed, self.again = error, failed, again


class Silence(Fault):
    """Nothing came for SILENCE_S. Before a reply's first token that may be a long line."""


def garbage(why):
    """The Fault for what no server of its kind would send."""
    return Fault(EngineError(f"The model's server sent what is no reply ({why}); try again."))


def make_client(url, key):
    """A client of the server whose routes begin with `url`. key: its bearer token, or None."""
    headers = {"Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return httpx.AsyncClient(
        base_url=url,
        headers=headers,
        timeout=httpx.Timeout(None, connect=CONNECT_S),  # patience has one clock: see _patience
        # A connection that the server is about to close would fail the request that takes it.
        limits=httpx.Limits(max_connections=None, keepalive_expiry=2),
    )


async def ask(client, method, path, body=None):
    """The JSON object that the server answers. Raises Fault, and for a refusal RequestError or
    EngineError."""
    async with _opened(client, method, path, body) as response:
        return _object(await _all(response, ANSWER_MAX))


async def events(client, path, body):
    """The JSON objects of the server's event stream, as they come. Raises what ask() raises."""
    async with _opened(client, "POST", path, body) as response:
        async for line in _lines(response):
            field, _, data = line.partition(b":")
            if field == b"data":
                if data.strip() == b"[DONE]":
                    return
                yield _object(data)
            elif field not in (b"", b"event", b"id", b"retry"):  # b"": a comment or a blank line
                raise garbage("not a stream of events")


@asynccontextmanager
async def _opened(client, method, path, body):
    """The response, whose status is good. What breaks while it is read becomes a Fault."""
    try:
        request = client.build_request(method, path, json=body)
        async with _patience():
            response = await client.send(request, stream=True)
        try:
            await _check(response)
            yield response
        finally:
            await response.aclose()
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        sentence = "The model's server cannot be reached; try again in a moment."
        raise Fault(EngineError(sentence), failed=True) from error
    except httpx.HTTPError as error:
        sentence = "The connection to the model's server broke before the reply's end; try again."
        raise Fault(EngineError(sentence), failed=True) from error


@asynccontextmanager
async def _patience():
    try:
        async with asyncio.timeout(SILENCE_S):
            yield
    except TimeoutError as error:
        sentence = f"The model's server sent nothing for {SILENCE_S:g} seconds; try again."
        raise Silence(EngineError(sentence), failed=True) from error


async def _check(response):
    """Raises what a status other than 200 means."""
    status = response.status_code
    if status == 200:
        return
    if status in (401, 403):
        sentence = (
            f"The model's server refuses this program's key ({status}): whoever runs it must set "
            "ASSISTANT_ENDPOINT_KEY."
        )
        raise Fault(EngineError(sentence), failed=True, again=False)
    if status in (429, 503):
        sentence = "The model's server has no room for the request at present; try again soon."
        raise Fault(EngineBusy(sentence), failed=status == 503, again=False)
    if 400 <= status < 500:
        why = detail(await _all(response, LINE_MAX))
        sentence = f"The model's server refuses the request ({status}){why}."
        if status in (404, 405):  # no such route, or no such model
            raise Fault(EngineError(sentence), again=False)
        raise RequestError(sentence) if status in (400, 413, 422) else EngineError(sentence)
    raise Fault(EngineError(f"The model's server failed ({status}); try again."), failed=True)


async def _all(response, most):
    """The body, of at most `most` bytes."""
    body = b""
    async with _patience():
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > most:
                raise garbage(f"more than {most:,} bytes")
    return body


async def _lines(response):
    """The lines of the body as they come, without their ends."""
    chunks, rest, total = response.aiter_raw(), b"", 0
    while True:
        async with _patience():
            whole = []
            while not whole:
                chunk = await anext(chunks, None)
                if chunk is None:
                    return
                total += len(chunk)
                *whole, rest = (rest + chunk).split(b"\n")
                if len(rest) > LINE_MAX or total > ANSWER_MAX:
                    raise garbage("a line or a reply without an end")
        for line in whole:
            yield line.rstrip(b"\r")


def _object(data):
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise garbage("no JSON object")
    return value


def detail(said):
    """What a server says about an error, as the end of a sentence: on one line, not too long.
    said: bytes of JSON, or what was in it."""
    try:
        said = json.loads(said) if isinstance(said, bytes) else said
    except (ValueError, RecursionError):
        said = None
    for _ in range(3):
        if isinstance(said, dict):
            said = said.get("error") or said.get("detail") or said.get("message")
    text = " ".join(said.split()).rstrip(".") if isinstance(said, str) else ""
    text = "".join(char for char in text if char.isprintable())
    if len(text) > DETAIL_MAX:
        text = text[:DETAIL_MAX] + "..."
    return f": {text}" if text else ""
