"""Aside: threads for what a page is told of a long text, which takes seconds."""

from collections.abc import Callable
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

from assistant.errors import EngineBusy
from assistant.web.pages.events import ASIDE

WAITING = 16  # that stand in line for a thread; whoever comes then is told so
FULL = "Many texts are being looked at just now; try again in a moment."

Value = TypeVar("Value")


class Aside:
    """Threads that no reply waits for, and a line before them that has an end."""

    def __init__(self) -> None:
        self._threads = CapacityLimiter(ASIDE)

    async def do(self, work: Callable[..., Value], *values: Any) -> Value:
        """What work(*values) gives. Raises what that raises, and EngineBusy where too many wait."""
        if self._threads.statistics().tasks_waiting >= WAITING:
            raise EngineBusy(FULL)
        return await to_thread.run_sync(work, *values, limiter=self._threads)
