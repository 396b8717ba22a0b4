"""Asking a server over HTTP: JSON answers, server-sent events, and one sentence for each fault.

Knows bytes, limits and patience; no models and no tokens. Nothing that a server sends is trusted:
every answer, whichever route it is for, is read here, uncompressed and up to a number of bytes, of
seconds and of JSON's parts. Sentences name no address, since visitors read them; whoever runs the
program finds it in the log.

The clients of OpenAI and of huggingface_hub are not used, since nothing bounds what they read: both
keep a line, or an event, until it ends, however long that is, unpack what is compressed, and wait
for each part of an answer anew, so that one byte a minute goes on for ever (openai 3.54,
huggingface_hub 2.4). What an answer may hold would have to be counted before they see it.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import CancelledError
from contextlib import AsyncExitStack, asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NoReturn

import httpx

from assistant.errors import AssistantError, EngineBusy, EngineDead, EngineError, RequestError
from assistant.text import quoted

CONNECT_S = 5
SILENCE_S = 120  # without an answer, or without a whole line of it: a long prompt takes a while
REPLY_S = 3600  # of a stream, however lively: a long reply of a slow server takes a while too
QUICK_S = 10  # of an answer for which nothing is computed: a text's tokens
LINE_MAX = 1 << 20  # bytes of an event, and of an error's body
QUICK_MAX = 16 << 20  # bytes: the tokens of a text of 200,000 characters, spelt in digits
ANSWER_MAX = 64 << 20  # bytes of an answer: 20 log-probabilities for each token of a long window
PART_BYTES = 16  # of JSON for each comma, list and object in it: each takes up to 72 in memory
DETAIL_MAX = 200  # characters of what a server says about an error
CLOSED = "The engine is closed."
BROKEN = "The connection to the model's server broke before the reply's end; try again."


class Fault(Exception):
    """An attempt failed. error: what the person reads. failed: the server had better be left alone
    for a while. again: the same server may be asked once more; else only another one. said: what of
    the sentence is the server's own; it may quote the prompt, so the Fault's own message, which is
    logged, is without it."""

    def __init__(
        self, error: AssistantError, *, failed: bool = False, again: bool = True, said: str = ""
    ) -> None:
        super().__init__(str(error).replace(said, ""))
        self.error, self.failed, self.again = error, failed, again


class Silence(Fault):
    """Nothing came for SILENCE_S. Before a reply's first token that may be a long line."""


def garbage(why: str) -> Fault:
    """The Fault for what no server of its kind would send."""
    return Fault(
        EngineError(f"The model's server sent something that is not a reply ({why}); try again.")
    )


def make_client(url: str, key: str | None) -> httpx.AsyncClient:
    """Of the server whose routes begin with `url`. key: its bearer token."""
    headers = {"Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return httpx.AsyncClient(
        base_url=url,
        headers=headers,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # none: they would pile up
        timeout=httpx.Timeout(None, connect=CONNECT_S),  # patience has one clock: see patience()
        # A connection that the server is about to close would fail the request that takes it.
        limits=httpx.Limits(max_connections=None, keepalive_expiry=2),
    )


async def ask(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    within: float | None = None,
    most: int | None = None,
) -> dict[str, Any]:
    """The JSON object that the server answers: whole after `within` seconds (SILENCE_S for None),
    and of at most `most` bytes (ANSWER_MAX for None). Raises Fault, and for a refusal RequestError
    or EngineError."""
    most = most or ANSWER_MAX
    async with patience(within), _opened(client, method, path, body) as response:
        return _object(await _all(response, most), most)


def blocking_ask(client: httpx.AsyncClient) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """ask() for threads that may wait, of a path and the JSON to send there, for what is answered
    quickly. It raises EngineError and RequestError, never Fault."""
    loop = asyncio.get_running_loop()

    def wait(path: str, body: dict[str, Any]) -> dict[str, Any]:
        question = ask(client, "POST", path, body, within=QUICK_S, most=QUICK_MAX)
        try:
            answer = asyncio.run_coroutine_threadsafe(question, loop)
        except RuntimeError:  # the loop is closed
            question.close()
            raise EngineDead(CLOSED) from None
        try:
            return answer.result(2 * QUICK_S)
        except Fault as fault:
            raise fault.error from fault
        except CancelledError:
            raise EngineDead(CLOSED) from None
        except TimeoutError:  # the loop is busy, since ask() takes no longer than QUICK_S
            raise EngineError("The engine is too busy at present; try again.") from None

    return wait


async def events(
    client: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON objects of the server's event stream, as they come. Raises what ask() raises."""
    async with _opened(client, "POST", path, body) as response:
        async for line in _lines(response):
            field, _, data = line.partition(b":")
            if field == b"data":
                if data.strip() == b"[DONE]":
                    return
                yield _object(data, LINE_MAX)
            elif field not in (b"", b"event", b"id", b"retry"):  # b"": a comment or a blank line
                raise garbage("not a stream of events")


@asynccontextmanager
async def patience(seconds: float | None = None) -> AsyncIterator[None]:
    """What is done inside may take so many seconds, SILENCE_S for None. Raises Silence."""
    seconds = seconds or SILENCE_S
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        sentence = f"The model's server was silent or too slow for {seconds:g} seconds; try again."
        raise Silence(EngineError(sentence), failed=True) from error


@asynccontextmanager
async def _opened(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
) -> AsyncIterator[httpx.Response]:
    """The response, whose status is good. What breaks while it is read becomes a Fault."""
    try:
        async with AsyncExitStack() as opened:
            async with patience():
                stream = client.stream(method, path, json=body)
                response = await opened.enter_async_context(stream)
                await _check(response)
            yield response
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        sentence = "The model's server cannot be reached; try again in a moment."
        raise Fault(EngineError(sentence), failed=True) from error
    except httpx.HTTPError as error:
        raise Fault(EngineError(BROKEN), failed=True) from error


async def _check(response: httpx.Response) -> None:
    """Raises what a compressed body, or a status other than 200, means."""
    status = response.status_code
    encoding = response.headers.get("content-encoding", "")
    compressed = encoding.lower() not in ("", "identity")  # a few bytes of it could be any number
    if compressed and status in (404, 405):  # a page of who stands before it
        raise Fault(EngineError(f"The model's server refuses the request ({status})."), again=False)
    if compressed:
        sentence = (
            f"The model's server compresses its answers ({quoted(encoding)}), though it was asked "
            "not to: whoever runs it must switch that off."
        )
        raise Fault(EngineError(sentence), failed=True, again=False)
    if status == 200:
        return
    if 300 <= status < 400:
        sentence = (
            f"The model's server sends requests on to another address ({status}), which is not "
            "followed: whoever runs this program must give that one with --endpoint."
        )
        raise Fault(EngineError(sentence), failed=True, again=False)
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
            raise Fault(EngineError(sentence), again=False, said=why)
        raise RequestError(sentence) if status in (400, 413, 422) else EngineError(sentence)
    raise Fault(EngineError(f"The model's server failed ({status}); try again."), failed=True)


async def _all(response: httpx.Response, most: int) -> bytes:
    """The body, of at most `most` bytes."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most:
            raise garbage(f"more than {most:,} bytes")
    return bytes(body)


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of the body as they come, without their ends."""
    clock = asyncio.get_running_loop().time
    chunks, line, total, last = response.aiter_raw(), bytearray(), 0, clock() + REPLY_S
    while True:
        whole: list[bytes] = []
        async with patience():
            while not whole:
                chunk = await anext(chunks, None)
                if chunk is None:
                    return
                total += len(chunk)
                end, *others = chunk.split(b"\n")
                line += end
                if others:
                    whole = [bytes(line), *others[:-1]]
                    line = bytearray(others[-1])
                if len(line) > LINE_MAX or total > ANSWER_MAX or clock() > last:
                    raise garbage("a line or a reply without an end")
        for each in whole:
            yield each.rstrip(b"\r")


def _object(data: bytes, most: int) -> dict[str, Any]:
    value = _json(data, most)
    if not isinstance(value, dict):
        raise garbage("not a JSON object")
    return value


def _json(data: bytes, most: int) -> object:
    """The value that is spelt in `data`; None for what is no JSON (NaN is none either), and where
    it has more parts than `most` bytes of an honest answer. How deep it is and how long a number
    is, Python limits itself."""
    if sum(map(data.count, (b",", b"[", b"{"))) > most // PART_BYTES:
        return None
    try:
        return _DECODER.decode(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def detail(message: object) -> str:
    """What a server says about an error, as the end of a sentence: on one line, not too long.
    message: bytes of JSON, or what was in it."""
    message = _json(message, LINE_MAX) if isinstance(message, bytes) else message
    for _ in range(3):
        if isinstance(message, dict):
            message = message.get("error") or message.get("detail") or message.get("message")
    text = " ".join(message.split()).rstrip(".") if isinstance(message, str) else ""
    text = "".join(char for char in text if char.isprintable())
    if len(text) > DETAIL_MAX:
        text = text[:DETAIL_MAX] + "..."
    return f": {text}" if text else ""
