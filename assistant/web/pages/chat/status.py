"""The sentences on how a reply stands: what it is at, and what it cost once it is finished."""

from assistant.engine.protocol import Engine
from assistant.generation.generate import Done
from assistant.generation.window import Ledger


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


def phase(writing: bool, place: int, waits: Waits, engine: Engine) -> str:
    """What a reply is at, "" once it can be seen. place: in line, 0 once it is computed."""
    if writing:
        return ""
    if not place:
        return "Reading"
    seconds = waits.seconds(place, engine.status().slots)
    about = f", about {seconds:.0f} s" if seconds else ""
    return f"Waiting: number {place} in line{about}"


def summary(ledger: Ledger, done: Done) -> str:
    """What a reply cost."""
    finished = done.finished
    speed, dropped = finished.tokens_per_s, len(ledger.dropped)
    ends = {"stop": "finished", "length": f"cut at {finished.new_tokens:,} tokens"}
    parts = [
        f"{finished.prompt_tokens + finished.new_tokens:,} of {ledger.window:,} tokens",
        f"first token after {finished.ttft_s:.2f} s" if finished.new_tokens else "",
        f"{speed:,.0f} tokens/s" if speed else "",
        ends.get(done.reason, "stopped"),
        f"{dropped} earlier exchanges no longer fit" if dropped else "",
    ]
    return " · ".join(part for part in parts if part)
