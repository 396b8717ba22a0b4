"""The one loop: an engine's stream through the stop sequences, as events.

Knows tokens and text, not where the prompt came from: chat, playground and API all use it.
Events are the engine's Waiting, then Delta after Delta, then one Done.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from assistant.engine import Finished, Waiting
from assistant.errors import EngineError


@dataclass(frozen=True, slots=True)
class Delta:
    """Text to add to what is shown."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end. text: all Deltas together. ids: the generated tokens that make up exactly this text
    (with the white space before it that a scanner stripped), None where a token reaches beyond its
    end. reason: "stop" for a stop sequence too; stop: the sequence or the special token that fired.
    finished: the engine's counts and times. cut: how many characters at the end of what the reply
    continues are no part of it, since a stop sequence begins there."""

    text: str
    ids: tuple[int, ...] | None
    reason: Literal["stop", "length", "cancelled"]
    stop: str | None
    finished: Finished
    cut: int = 0


def generate(engine, request, scanner, *, wait_s=0.1, held=None):
    """Submit `request` now, and give its events as a Generation. scanner: a fresh StopScanner.
    wait_s: the longest that one `next()` waits for the engine, in seconds; 0 never blocks.
    held: for a reply that goes on behind text which `scanner` has read already, how many
    characters of it the scanner still holds: they are not given out again.

    Raises RequestError, EngineBusy or EngineDead at once; while reading EngineError, after all
    text that came before it has been given out.
    """
    return Generation(engine, request, scanner, wait_s, held)


class Generation:
    """Iterator over Waiting, Delta and one Done. `close()` cancels what still runs; who reads on
    gets what was held back, and Done with the reason "cancelled"."""

    def __init__(self, engine, request, scanner, wait_s, held):
        self._stream = engine.generate(request, wait_s=wait_s)
        self._held = held or 0
        self._stripped = scanner.strip and held is None  # at its start
        self._events = self._run(engine.tokenizer, scanner)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._events)

    def close(self):
        self._stream.close()

    def _new(self, text):
        """Of what the scanner gives, that which was not there before this generation."""
        new = text[self._held :]
        self._held -= len(text) - len(new)
        return new

    def _run(self, tokenizer, scanner):
        raw, shown, ids = [], [], []
        finished = None
        try:
            for item in self._stream:
                if isinstance(item, Waiting):
                    yield item
                elif isinstance(item, Finished):
                    finished = item
                    break
                else:
                    raw.append(item.text)
                    ids.extend(item.ids)
                    if text := self._new(scanner.feed(item.text)):
                        shown.append(text)
                        yield Delta(text)
                    if scanner.fired is not None:
                        break
        except EngineError:
            if text := self._new(scanner.flush()):
                yield Delta(text)
            raise
        finally:
            counts = self._stream.close()  # a stop sequence cancels what the engine still writes
        if text := self._new(scanner.flush()):
            shown.append(text)
            yield Delta(text)
        finished = finished or counts
        stop = scanner.fired
        if stop is not None:
            finished = dataclasses.replace(finished, reason="stop", stop_id=None)
        elif finished.stop_id is not None:
            stop = tokenizer.decode([finished.stop_id])
        text = "".join(shown)
        ids = _ids_of(text, "".join(raw), ids, self._stripped, tokenizer)
        yield Done(text, ids, finished.reason, stop, finished, self._held)


def _ids_of(text, raw, ids, stripped, tokenizer):
    """The first of `ids` that decode to `text`, the white space before it included; None if there
    are none such. raw: the text of all `ids`."""
    start = len(raw) - len(raw.lstrip()) if stripped else 0
    end = start + len(text)
    decoder = tokenizer.decoder()
    length = count = 0
    for token in ids:
        if length >= end:
            break
        length += len(decoder.feed([token]))
        count += 1
    ids = tuple(ids[:count])
    return ids if tokenizer.decode(ids) == raw[:end] else None
