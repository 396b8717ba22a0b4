"""The sentences on how a reply stands: what it is at, and what it cost once it is finished."""

from assistant.engine.protocol import Engine
from assistant.generation.generate import Done
from assistant.generation.window import Ledger
from assistant.web.follow import Step, Waits


def phase(step: Step, waits: Waits, engine: Engine) -> str:
    """What a reply is at."""
    if step.text:
        return "Writing"
    if not step.place:
        return "Reading"
    seconds = waits.seconds(step.place, engine.status().slots)
    about = f", about {seconds:.0f} s" if seconds else ""
    return f"Waiting: number {step.place} in line{about}"


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
