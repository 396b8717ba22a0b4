"""fill(): the model writes what is missing in a text, in an order that it was trained on.

    PSM   <fim_prefix> before <fim_suffix> after <fim_middle>
    SPM   <fim_prefix><fim_suffix> after <fim_middle> before

(As StarCoder has it; see spellings.py for others. The parts are encoded apart.) What a part spells
stays text, so that each of the three tokens is there once. Several holes are filled in turn, the
first one first: what stands before a hole holds the fills so far, and in what stands after it the
later holes are left out. Knows text and the three tokens; no template, no page.
"""

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

from assistant.completion.complete import at_once, check_count, seeds
from assistant.completion.spellings import (
    ORDERS,
    Spelling,
    find_spelling,
    missing_order,
    missing_tokens,
)
from assistant.engine.protocol import Engine, Request, Tokenizer, Waiting
from assistant.errors import EngineBusy, RequestError
from assistant.generation.ends import NO_ENDS, Ends
from assistant.generation.generate import Delta, Done, Event, generate
from assistant.generation.reply import Reply
from assistant.generation.stops import StopScanner
from assistant.generation.window import Ledger, fit
from assistant.sampling import Sampling, check_max_new_tokens, check_stops
from assistant.text import check_prompt, quoted

FILL_HERE = "<FILL_HERE>"
HOLES_MAX = 8


@dataclass(frozen=True, slots=True)
class Fill:
    """One hole with what the model wrote. text: that; whole: the whole text with it, what stands
    after it always there, later holes as FILL_HERE; start, end: where `text` stands in `whole`, and
    in the `whole` of each later Fill too. hole: its number, from 0. reason: None while it is
    being written; behind "cancelled" no hole is filled any more."""

    text: str
    whole: str
    start: int
    end: int
    reason: Literal["stop", "length", "cancelled"] | None
    hole: int


def parts_of(text: object) -> list[str]:
    """The parts between the holes. text: a str in which FILL_HERE marks them, or a
    sequence of the parts, such as (before, after). Raises RequestError."""
    if isinstance(text, str):
        text = text.split(FILL_HERE)
    given = text if isinstance(text, (list, tuple)) else [text]
    parts = [part for part in given if isinstance(part, str)]
    check_prompt("".join(parts) if len(parts) == len(given) else None)
    if not 2 <= len(parts) <= HOLES_MAX + 1:
        raise RequestError(
            f"Write {FILL_HERE} where something is missing, at 1 to {HOLES_MAX} places; "
            f"the text has it {len(parts) - 1} times."
        )
    return parts


def fill(
    engine: Engine,
    text: str | Sequence[str],
    *,
    sampling: Sampling,
    max_new_tokens: int,
    order: str | None = None,
    count: int = 1,
    stop: Sequence[str] | None = (),
    ends: Ends = NO_ENDS,
    cut: bool = False,
    wait_s: float = 0.1,
) -> list["Filling"]:
    """`count` candidates, with the seeds seed, seed + 1, ..., whose first holes are submitted at
    the call. text: see parts_of. max_new_tokens: for each hole. order: a key of ORDERS; None for
    the first that the model was trained on. ends: what else ends it. cut: whether more than the
    text leaves room for is asked for as what it leaves.

    Raises RequestError, EngineBusy or EngineDead, and then none of them runs.
    """
    engine.check_room()
    order = check_order(order, engine.tokenizer)
    parts, count = parts_of(text), check_count("candidates", count)
    limit = check_max_new_tokens(max_new_tokens, engine.window)
    size = len(_ids(parts[0], "".join(parts[1:]), order, engine.tokenizer))
    if cut:
        limit = max(min(limit, (engine.window - size) // (len(parts) - 1)), 1)
    fit(0, (), size, limit * (len(parts) - 1), engine.window)  # the last hole must have room too
    stops = check_stops(stop)

    def filling(seeded: Sampling) -> Filling:
        ask = partial(_ask, engine, order, limit, seeded, stops, ends, wait_s)
        return Filling(ask, parts, seeded, wait_s)

    return at_once(partial(filling, seeded) for seeded in seeds(sampling, count))


def check_order(order: str | None, tokenizer: Tokenizer) -> str:
    """An order that the model was trained on: see fill(). Raises RequestError."""
    spelling = find_spelling(tokenizer)
    if not spelling:
        raise RequestError(cast(str, missing_tokens(tokenizer)))
    if order is None:
        return next(iter(spelling.orders))
    if order not in ORDERS:
        raise RequestError(f"The order must be one of {', '.join(ORDERS)}, not {quoted(order)}.")
    if order not in spelling.orders:
        raise RequestError(cast(str, missing_order(tokenizer)))
    return order


class Filling:
    """One candidate, read as a chat.Reply is: Waiting, Deltas, and the last hole's Done at the end.

    fills: the Fills so far, in the order of the holes, that which is being written the last.
    sampling: as used, with its seed. `close()` cancels; what was written by then can still be read.
    Raises EngineError or WindowError while reading, behind all text that came before it.
    """

    def __init__(
        self,
        ask: Callable[[str, str], Reply],
        parts: Sequence[str],
        sampling: Sampling,
        wait_s: float,
    ) -> None:
        self.fills: tuple[Fill, ...] = ()
        self.sampling = sampling
        self._ask, self._parts, self._wait_s = ask, parts, wait_s
        self._closed = False
        self._reply = ask(parts[0], "".join(parts[1:]))
        self._events = self._run()

    @property
    def ledger(self) -> Ledger:
        """That of the hole which is being filled."""
        return self._reply.ledger

    def __iter__(self) -> "Filling":
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def close(self) -> None:
        self._closed = True
        self._reply.close()

    def _run(self) -> Iterator[Event]:
        before = self._parts[0]
        done = yield from self._read(0, before)
        for hole in range(1, len(self._parts) - 1):
            if done.reason == "cancelled":
                break
            before += done.text + self._parts[hole]
            yield from self._begin(before, "".join(self._parts[hole + 1 :]))
            if self._closed:
                self._reply.close()
                done = dataclasses.replace(done, reason="cancelled")
                break
            done = yield from self._read(hole, before)
        yield done

    def _read(self, hole: int, before: str) -> Generator[Event, None, Done]:
        """The events of one hole's reply; returns the last of them."""
        text = ""
        while not isinstance(event := next(self._reply), Done):
            if isinstance(event, Delta):
                text += event.text
            self._put(hole, before, text, None)
            yield event
        self._put(hole, before, text, event.reason)
        return event

    def _begin(self, before: str, after: str) -> Iterator[Waiting]:
        """Submits a later hole; waits while the engine is full."""
        while not self._closed:
            try:
                self._reply = self._ask(before, after)
                return
            except EngineBusy:
                yield Waiting(1)
                time.sleep(self._wait_s)

    def _put(
        self,
        hole: int,
        before: str,
        text: str,
        reason: Literal["stop", "length", "cancelled"] | None,
    ) -> None:
        whole = before + text + FILL_HERE.join(self._parts[hole + 1 :])
        end = len(before) + len(text)
        self.fills = (*self.fills[:hole], Fill(text, whole, len(before), end, reason, hole))


def _ask(
    engine: Engine,
    order: str,
    limit: int,
    sampling: Sampling,
    stops: tuple[str, ...],
    ends: Ends,
    wait_s: float,
    before: str,
    after: str,
) -> Reply:
    """The Reply that fills one hole. Any special token ends it: none belongs into a file."""
    ids = _ids(before, after, order, engine.tokenizer)
    request = Request(
        ids=tuple(ids),
        sampling=sampling,
        max_new_tokens=limit,
        stop_ids=frozenset(engine.tokenizer.special.values()),
        penalty_from=len(ids),  # a fill must use the names that stand around it
    )
    request = ends.applied(request, engine)
    ledger = fit(0, (), len(ids), limit, engine.window)
    generation = generate(engine, request, StopScanner(strings=stops), wait_s=wait_s)
    return Reply(generation, ledger, sampling, stop=stops)


def _ids(before: str, after: str, order: str, tokenizer: Tokenizer) -> list[int]:
    """The prompt's ids."""
    return cast(Spelling, find_spelling(tokenizer)).prompt(before, after, order, tokenizer)
