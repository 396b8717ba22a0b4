"""A reply while it is read: its events, and the turn that it becomes."""

import dataclasses

from assistant.conversation import Turn
from assistant.generation.generate import Delta, Done

NOTHING = Turn("assistant", "")


class Reply:
    """Iterator over the events of generate.py. ledger: where the window's tokens go. sampling: as
    used, with its seed. stop: the stop strings that were asked for. before: the reply that this one
    continues, an empty one where it continues none. `close()` cancels what still runs; its end can
    still be read."""

    def __init__(self, generation, ledger, sampling, *, stop=(), before=NOTHING):
        self._generation = generation
        self._texts, self._done = [], None
        self.ledger = ledger
        self.sampling = sampling
        self.stop = stop
        self.before = before

    def __iter__(self):
        return self

    def __next__(self):
        event = next(self._generation)
        if isinstance(event, Delta):
            self._texts.append(event.text)
        elif isinstance(event, Done):
            self._done = event
        return event

    @property
    def turn(self):
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

    def close(self):
        self._generation.close()
