"""Sources: the index of sources while the program runs, and what is asked of it.

It is opened, or built, when it is first asked, in a thread of its own, so that nobody's reply waits
for it; one that turns out damaged is built again. Where that fails, as on a full disk, it is tried
once: whoever asks then hears a sentence, which names no path. Look-ups have two processes and a
short queue of their own: a thread that computes in Python lets torch's wait before each operator,
and a text that is made to be slow takes seconds. Knows no pages.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from anyio import BrokenWorkerProcess, CapacityLimiter, to_process

from assistant.attribution import Index, Match, find_matches, service
from assistant.attribution.shipped import shipped_index
from assistant.errors import AttributionError, DamagedIndex, SourcesBusy
from assistant.text import replace_surrogates

PROCESSES = 2  # that look up
WAITING = 8  # look-ups that wait for one of them
NICE = 10  # how much less they count than the rest of the program, where a system has that
ASKED_MAX = 10  # texts that a service is asked about at once
LOOK_S = 0.25  # between two looks at how far the index is
FULL = (
    f"Look-ups of sources are busy ({PROCESSES} at work, {WAITING} in line); try again in a moment."
)
REBUILDS = 3  # of an index that turns out damaged, as long as the program runs
UNUSABLE = (
    "There is no index of sources: it could not be built or read. The server's log says why, and "
    "the next start of the server tries again."
)
DAMAGED = "The index of sources turned out damaged; try again, and it is built anew."
SERVICE_FULL = f"The service is being asked about {ASKED_MAX} texts already; try again in a moment."
JSON_TEXT_CHARS = 8_000  # of a match's text that a page gets
ALSO_MAX = 3

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Progress = Callable[[int, int], None]  # of bytes: read, in all


@dataclass(frozen=True, slots=True)
class Building:
    """The index is not there yet. part: of it that is, from 0 to 1."""

    part: float

    def __str__(self) -> str:
        return f"Building the index of sources: {self.part:.0%}"


class Sources:
    """url: a membership service that may be asked too, or None. path: of an index that was built,
    else the shipped one. open_index(progress): gives the Index in their place."""

    def __init__(
        self,
        url: str | None = None,
        path: str | Path | None = None,
        open_index: Callable[[Progress], Index] | None = None,
    ) -> None:
        self.url, self.host = url, urlsplit(url).hostname if url else None
        self.path = path
        self._open_index = open_index or (shipped_index if path is None else lambda _: Index(path))
        self._processes = CapacityLimiter(PROCESSES)
        self._places = asyncio.Semaphore(PROCESSES + WAITING)
        self._asked = asyncio.Semaphore(ASKED_MAX)
        self._lock = threading.Lock()
        self._opened: Future[Index] | None = None
        self._part, self._rebuilds = 0.0, REBUILDS

    async def ask(
        self, question: Callable[[Index], Answer]
    ) -> AsyncGenerator[Building | Answer, None]:
        """Building, now and then, until the index is there; last what question(index), called in
        another process, gives: all three must be what pickle takes. Raises what that raises, and
        AttributionError; SourcesBusy where too many ask."""
        for again in (True, False):
            opened = self._begin()
            while not opened.done():
                yield Building(self._part)
                await asyncio.sleep(LOOK_S)
            if opened.exception():
                raise AttributionError(UNUSABLE)
            try:
                async with _place(self._places, FULL):
                    answer = await to_process.run_sync(
                        _behind_all_else, question, opened.result(), limiter=self._processes
                    )
                yield answer
                return
            except DamagedIndex:
                if not self._forget(opened):
                    raise AttributionError(UNUSABLE) from None
                if not again:
                    raise AttributionError(DAMAGED) from None
            except BrokenWorkerProcess:  # out of memory, or killed
                raise AttributionError("The look-up broke off; try again.") from None

    async def check(self, text: str) -> AsyncGenerator[Building | list[dict[str, Any]], None]:
        """The same, for the matches of `text`, as dicts for a page."""
        async for step in self.ask(partial(matches_in, replace_surrogates(text))):
            yield step

    async def ask_service(self, text: str) -> list[tuple[int, int]]:
        """The spans of `text` that the service knows; what the page asks for by its own wish.
        Raises AttributionError, SourcesBusy and TextError."""
        if self.url is None:
            raise AttributionError("No attribution service is set here; start with --attribution.")
        async with _place(self._asked, SERVICE_FULL):
            return await service.ask_service(self.url, replace_surrogates(text))

    def _begin(self) -> Future[Index]:
        with self._lock:
            if self._opened is None:
                self._opened, self._part = Future(), 0.0
                threading.Thread(target=self._open, args=[self._opened], daemon=True).start()
            return self._opened

    def _open(self, opened: Future[Index]) -> None:
        try:
            opened.set_result(self._open_index(self._progress))
        except BaseException as error:
            if isinstance(error, AttributionError):
                log.error("no index of sources: %s", error)
            else:
                log.exception("no index of sources")
            opened.set_exception(error)

    def _progress(self, read: int, total: int) -> None:
        self._part = read / max(total, 1)

    def _forget(self, opened: Future[Index]) -> bool:
        """Whether it is opened anew when it is asked next."""
        with self._lock:
            if self._opened is opened:
                if not self._rebuilds:
                    return False
                self._rebuilds -= 1
                self._opened = None
            return True


def _behind_all_else(question: Callable[[Index], Answer], index: Index) -> Answer:
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    return question(index)


def matches_in(text: str, index: Index) -> list[dict[str, Any]]:
    """The matches of `text`, as a page gets them."""
    return [to_json(match) for match in find_matches(index, text)]


@asynccontextmanager
async def _place(places: asyncio.Semaphore, full: str) -> AsyncIterator[None]:
    """One of `places`, a semaphore. Raises SourcesBusy, which says `full`, where none is free."""
    if places.locked():
        raise SourcesBusy(full)
    async with places:
        yield


def to_json(match: Match) -> dict[str, Any]:
    """A Match as a page gets it."""
    return asdict(match) | {
        "text": match.text[:JSON_TEXT_CHARS],
        "also": [path for path, _, _ in match.also[:ALSO_MAX]],
        "others": len(match.also),
        "url": match.link,
    }
