"""A reply while it is read: its events, and the turn that it becomes."""

import dataclasses

from assistant.conversation import Turn
from assistant.generation.generate import Delta, Done, Event, Generation
from assistant.generation.window import Ledger
from assistant.sampling import Sampling

NOTHING = Turn("assistant", "")


class Reply:
    """Iterator over the events of generate.py. sampling: as used, with its seed. system: the
    instructions that joined the preamble. stop: the stop strings that were asked for. before: the
    reply that this one continues, an empty one where it continues none. `close()` cancels what
    still runs; its end can still be read."""

    def __init__(
        self,
        generation: Generation,
        ledger: Ledger,
        sampling: Sampling,
        *,
        system: str = "",
        stop: tuple[str, ...] = (),
        before: Turn = NOTHING,
    ) -> None:
        self._generation = generation
        self._texts: list[str] = []
        self._done: Done | None = None
        self.ledger = ledger
        self.sampling = sampling
        self.system = system
        self.stop = stop
        self.before = before

    def __iter__(self) -> "Reply":
        return self

    def __next__(self) -> Event:
        event = next(self._generation)
        if isinstance(event, Delta):
            self._texts.append(event.text)
        elif isinstance(event, Done):
            self._done = event
        return event

    @property
    def turn(self) -> Turn:
        """The whole reply as a Turn, as far as it was read, behind what it continues. Its ids and
        its finish reason are known at the end only."""
        done, new = self._done, "".join(self._texts)
        text = self.before.text[: len(self.before.text) - (done.cut if done else 0)] + new
        ids = finish = None
        if done:
            finish = done.reason
            if done.ids is not None and not done.cut:
                ids = (*(self.before.ids or ()), *done.ids)
        return dataclasses.replace(self.before, text=text.strip(), ids=ids, finish=finish)

    def close(self) -> None:
        self._generation.close()
