"""The one loop: an engine's stream through the stop sequences, as events.

Knows tokens and text, not where the prompt came from: chat, playground and API all use it.
Events are the engine's Waiting, then Delta after Delta, then one Done.
"""

import dataclasses
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from assistant.engine.protocol import (
    Engine,
    Finished,
    Logprob,
    Piece,
    Request,
    Tokenizer,
    Waiting,
)
from assistant.errors import EngineError
from assistant.generation.stops import StopScanner

Token: TypeAlias = tuple[
    int, Logprob | None
]  # its id; None unless log-probabilities were asked for


@dataclass(frozen=True, slots=True)
class Delta:
    """Text to add to what is shown. tokens: those whose text is whole with it; one that a stop cut
    through never comes. bare: no tokens will come for this text, since the engine gives none."""

    text: str
    tokens: tuple[Token, ...] = ()
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The end. text: all Deltas together. ids: the generated tokens that make up exactly this text
    (with the white space before it that a scanner stripped), None where a token reaches beyond its
    end. reason: "stop" for a stop sequence too; stop: the sequence or the special token that fired.
    finished: the engine's counts and times. cut: how many characters at the end of what the reply
    continues are no part of it, since a stop sequence begins there. tokens: as in Delta."""

    text: str
    ids: tuple[int, ...] | None
    reason: Literal["stop", "length", "cancelled"]
    stop: str | None
    finished: Finished
    cut: int = 0
    tokens: tuple[Token, ...] = ()


Event: TypeAlias = Waiting | Delta | Done


def generate(
    engine: Engine,
    request: Request,
    scanner: StopScanner,
    *,
    wait_s: float = 0.1,
    held: int | None = None,
) -> "Generation":
    """Submit `request` now, and give its events. scanner: a fresh one.
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

    def __init__(
        self,
        engine: Engine,
        request: Request,
        scanner: StopScanner,
        wait_s: float,
        held: int | None,
    ) -> None:
        self._stream = engine.generate(request, wait_s=wait_s)
        self._held = held or 0
        self._stripped = scanner.strip and held is None  # at its start
        self._events = self._run(engine.tokenizer, scanner)

    def __iter__(self) -> "Generation":
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def close(self) -> None:
        self._stream.close()

    def _new(self, text: str) -> str:
        """Of what the scanner gives, that which was not there before this generation."""
        new = text[self._held :]
        self._held -= len(text) - len(new)
        return new

    def _run(self, tokenizer: Tokenizer, scanner: StopScanner) -> Iterator[Event]:
        raw: list[str] = []
        shown: list[str] = []
        ids: list[int] = []
        tokens = _Tokens(tokenizer, self._stripped)
        finished: Finished | None = None

        def new_tokens(text: str) -> tuple[Token, ...]:
            new = tokens.release(text)
            ids.extend(token for token, _ in new)
            return new

        def delta(text: str) -> Delta:
            return Delta(text, new_tokens(text), not tokens.known)

        try:
            for item in self._stream:
                if isinstance(item, Waiting):
                    yield item
                elif isinstance(item, Finished):
                    finished = item
                    break
                else:
                    raw.append(item.text)
                    tokens.add(item)
                    if text := self._new(scanner.feed(item.text)):
                        shown.append(text)
                        yield delta(text)
                    if scanner.fired is not None:
                        break
        except EngineError:
            if text := self._new(scanner.flush()):
                yield delta(text)
            raise
        finally:
            # A stop sequence cancels what the engine still writes.
            counts = self._stream.close("cancelled" if scanner.fired is None else "stop")
        if text := self._new(scanner.flush()):
            shown.append(text)
            yield delta(text)
        finished = finished or counts
        stop = scanner.fired
        if stop is not None:
            finished = dataclasses.replace(finished, reason="stop", stop_id=None)
        elif finished.stop_id is not None:
            stop = tokenizer.decode([finished.stop_id])
        rest = new_tokens("")
        whole = tokenizer.decode(ids) == "".join(raw)[: tokens.end]
        yield Done(
            "".join(shown),
            tuple(ids) if whole else None,
            finished.reason,
            stop,
            finished,
            self._held,
            rest,
        )


class _Tokens:
    """The tokens that were read and not given out yet. end: up to which character of all the text
    that was read it is shown; where `stripped`, the white space at its start counts as shown.
    known: there are tokens at all."""

    def __init__(self, tokenizer: Tokenizer, stripped: bool) -> None:
        self.end, self.known = 0, False
        self._blank = stripped
        self._decoder = tokenizer.decoder()
        self._waiting: deque[tuple[int, Token]] = deque()  # each with where its text ends
        self._length = 0

    def add(self, piece: Piece) -> None:
        self.known = self.known or bool(piece.ids)
        logprobs = piece.logprobs or (None,) * len(piece.ids)
        for token, logprob in zip(piece.ids, logprobs, strict=True):
            text = self._decoder.feed([token]) if self._decoder else ""
            self._length += len(text)
            # A part of a character ends where that will.
            self._waiting.append((self._length + (not text), (token, logprob)))
        if self._blank:
            body = piece.text.lstrip()
            self.end += len(piece.text) - len(body)
            self._blank = not body

    def release(self, text: str) -> tuple[Token, ...]:
        """Those that are whole with `text`, which is given out now."""
        self.end += len(text)
        whole = []
        while self._waiting and self._waiting[0][0] <= self.end:
            whole.append(self._waiting.popleft()[1])
        return tuple(whole)
