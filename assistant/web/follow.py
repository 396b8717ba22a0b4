"""follow(): a Reply's events, read on the event loop and gathered into few steps.

Knows nothing of pages. The loop is never blocked: a reply that was asked for with `wait_s=0` says
at once that there is nothing new, and the time until the next look is slept away.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from assistant.engine.protocol import Waiting
from assistant.generation.generate import Delta, Done
from assistant.generation.reply import Reply

TICK_S = 0.03  # between two looks
PULSE_S = 0.25  # a step at least this often: only a step lets a closed page end its reply


@dataclass(frozen=True, slots=True)
class Step:
    """text: all so far. place: as in Waiting. done: the last event, with the last step."""

    text: str
    place: int
    done: Done | None


async def follow(reply: Reply) -> AsyncGenerator[Step, None]:
    """The Steps of `reply`, which is closed when this generator ends or is closed.

    The pause after a step is longer than the step took to handle, so that pages which are costly
    to update cannot fill the loop. Raises EngineError.
    """
    clock = asyncio.get_running_loop().time
    text, place, next_pulse = "", 0, 0.0
    seen: tuple[str, int] | None = None
    try:
        while True:
            done: Done | None = None
            failure: Exception | None = None
            ended = False
            try:
                for event in reply:
                    match event:
                        case Delta():
                            text += event.text
                            place = 0
                        case Waiting():
                            place = event.place
                            break
                        case Done():
                            done = event
                else:
                    ended = True
            except Exception as error:  # what came before it is shown first
                failure = error
            now, cost = clock(), 0.0
            if done or (text, place) != seen or now >= next_pulse:
                yield Step(text, place, done)
                cost = clock() - now
                seen, next_pulse = (text, place), clock() + PULSE_S
            if failure:
                raise failure
            if ended:
                return
            await asyncio.sleep(min(max(TICK_S, 2 * cost), PULSE_S))
    finally:
        reply.close()


class Waits:
    """What a place in line is worth: how long the replies of this server took lately."""

    def __init__(self) -> None:
        self._mean: float | None = None

    def add(self, seconds: float) -> None:
        """A reply took so many seconds from its slot on."""
        self._mean = seconds if self._mean is None else 0.8 * self._mean + 0.2 * seconds

    def seconds(self, place: int, slots: int) -> float | None:
        """Until the request in this place gets a slot; None before any reply has ended."""
        return None if self._mean is None else self._mean * -(-place // max(slots, 1))
