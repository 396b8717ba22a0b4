"""RemoteEngine: other servers compute, and this process asks them. See the Engine protocol.

One thread has an event loop in which each request is a task; servers knows what they do
there. Knows requests and their limits; no servers, no HTTP.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from assistant.engine.check import check_request
from assistant.engine.protocol import Request, Status
from assistant.engine.remote.http import CLOSED
from assistant.engine.remote.job import Job, RemoteStream
from assistant.engine.remote.servers import Servers
from assistant.errors import EngineBusy, EngineDead, RequestError, SettingsError
from assistant.settings import Settings

NO_TOKENS = (
    "Only the server behind this page knows its tokens, so none are shown; give the model's folder "
    "or its hub id with --model."
)
CLOSE_S = 1  # how long closing waits for the connections


class RemoteEngine:
    """The servers at `settings.endpoint`, as one engine. limitations: what they cannot do, name to
    the sentence that says so. Raises StartError where none of them can be used."""

    revision: str | None = None  # no server tells them
    adapter: str | None = None
    numerics: str | None = None

    def __init__(self, settings: Settings) -> None:
        self._closed, self._lock = False, threading.Lock()
        self._active: set[Job] = set()
        self._most = settings.slots * len(settings.endpoint) + settings.queue
        self._slots = settings.slots * len(settings.endpoint)
        self._servers = Servers(settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()
        try:
            self._submit(self._servers.open()).result()
            self.window = _window(settings.window, self._servers.window)
        except BaseException:
            self.close()
            raise
        model = self._servers.model
        self.model, self.embedded, self.tokenizer = model.name, model.embedded, model.tokenizer
        self.limitations = self._servers.limitations
        if self.tokenizer.decoder() is None:
            self.limitations = {**self.limitations, "logprobs": NO_TOKENS, "tokens": NO_TOKENS}

    def generate(self, request: Request, *, wait_s: float = 0.1) -> RemoteStream:
        check_request(request, len(self.tokenizer), self.window)
        for name in ("logprobs", "prompt_logprobs"):
            if name in self.limitations and getattr(request, name) is not None:
                raise RequestError(self.limitations[name])
        wanted = {"min_new_tokens": request.min_new_tokens, "grammar": request.grammar}
        for name in (*request.sampling.used, *filter(wanted.get, wanted)):
            if name in self.limitations:
                raise RequestError(self.limitations[name])
        job = Job(request, self._text(request) if "ids" in self.limitations else None)
        with self._lock:
            self.check_room()
            self._active.add(job)
            job.future = future = self._submit(self._servers.run(job))
        future.add_done_callback(lambda _: self._active.discard(job))
        return RemoteStream(job, self.tokenizer.decoder(), wait_s)

    def check_room(self) -> None:
        if self._closed:
            raise EngineDead(CLOSED)
        if len(self._active) >= self._most:
            raise EngineBusy(
                f"All {self._most} places for requests are taken at present; try again in a moment."
            )

    def pin(self, ids: tuple[int, ...]) -> None:
        """A server keeps the prefixes that it likes. Here this one helps to tell prompts apart."""
        self._servers.shared.append(ids)

    def status(self) -> Status:
        jobs = list(self._active)
        running = sum(job.first_token_at is not None for job in jobs)
        return Status(running, len(jobs) - running, self._slots)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            jobs = list(self._active)
        for job in jobs:
            job.out.put(job.finished("cancelled", job.generated))
            job.cancel()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)

    def _submit(self, coroutine: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _run(self) -> None:
        """The thread: the loop, and when that was stopped, the end of what it still did."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._servers.close())
        self._loop.close()

    def _text(self, request: Request) -> str:
        """The prompt as text, to which a server adds what stands before a document. Raises
        RequestError where it would read a special token in it that stands for no such token here.
        """
        tokenizer = self.tokenizer
        special = set(tokenizer.special.values())
        text = "".join(tokenizer.texts(request.ids, start=True))
        read = [token for token in tokenizer.encode(text, trusted=True) if token in special]
        ids = request.ids[1:] if request.ids[0] == tokenizer.bos_id else request.ids
        meant = [token for token in ids if token in special]
        if read == meant:
            return text
        spelt = sorted({tokenizer.decode([token]) for token in read if token not in meant})
        raise RequestError(
            f"The text spells {' and '.join(spelt) or 'special tokens'}, which the server behind "
            "this page would read as special tokens; change the spelling."
        )


def _window(asked: int | None, most: int) -> int:
    """asked: --window. most: what the servers have. Raises SettingsError."""
    if asked is not None and asked > most:
        raise SettingsError(
            f"--window {asked} is more than the server's model has: give at most its {most:,} "
            "tokens."
        )
    return asked or most
