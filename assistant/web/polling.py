"""side_by_side(): streams of events read on the event loop, and gathered into few steps.

Knows nothing of pages, nor of what the events mean. The loop is never blocked: what was asked for
with `wait_s=0` says at once that there is nothing new.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, TypeVar

from assistant.engine.protocol import Waiting

TICK_S = 0.03  # between two looks
PULSE_S = 0.25  # a step at least this often: only a step lets a closed page end its reply
Event = TypeVar("Event", covariant=True)


class Source(Protocol[Event]):
    """An iterator that never blocks: Waiting or None where there is nothing new."""

    def __next__(self) -> Event: ...

    def close(self) -> object: ...


async def side_by_side(
    sources: Sequence[Source[Event]],
) -> AsyncGenerator[list[tuple[int, Event | Exception]], None]:
    """Yields lists of (index, event) from whichever of `sources` has something new, until all have
    ended; an empty list now and then, since only a step lets a closed page end them. What a source
    raises is its last event. Closing this generator closes them all.

    The pause after a step is longer than the step took to handle, so that pages which are costly to
    update cannot fill the loop.
    """
    clock = asyncio.get_running_loop().time
    live, next_pulse = dict(enumerate(sources)), 0.0
    places: dict[int, int] = {}
    try:
        while live:
            news: list[tuple[int, Event | Exception]] = []
            for index, source in list(live.items()):
                try:
                    event = next(source)
                    while not (event is None or isinstance(event, Waiting)):
                        news.append((index, event))
                        event = next(source)
                    if event is not None and places.get(index) != event.place:
                        places[index] = event.place
                        news.append((index, event))
                except StopIteration:
                    del live[index]
                except Exception as error:
                    news.append((index, error))
                    del live[index]
            begun = clock()
            if news or begun >= next_pulse:
                yield news
                next_pulse = clock() + PULSE_S
            if live:
                await asyncio.sleep(min(max(TICK_S, 2 * (clock() - begun)), PULSE_S))
    finally:
        for source in sources:
            source.close()
