"""Where a part runs, how long it may, and the engines that it opens there."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

OVER = "the time was over"  # in a Line's text: not all of it was done
DEAD_S = 1.0  # before a part is killed: it should have ended by itself


@dataclass(frozen=True, slots=True)
class Place:
    """device: "cuda", or "cpu" for small shapes. ends: when the part is killed, time.monotonic().
    folder: of its own, for files."""

    device: str
    ends: float
    folder: Path

    @property
    def on_card(self) -> bool:
        return self.device != "cpu"

    @property
    def left_s(self) -> float:
        """Seconds that it may go on."""
        return self.ends - DEAD_S - time.monotonic()


@dataclass(frozen=True, slots=True)
class Part:
    """run: "module:function", a function of a Place that yields report.Lines. seconds: its bound.
    least: with fewer seconds left in all it is not begun. checks: whether that is a failure.
    environ: what the process has beside this one's."""

    name: str
    run: str
    seconds: float
    least: float = 5
    checks: bool = True
    environ: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def opened(
    load: Callable, *, slots: int = 8, drafts: bool = False, trial_s: float | None = None
) -> Iterator:
    """A LocalEngine on what `load` gives, closed at the end. trial_s: how long it may take to
    try in another process first what a card can do, as the program does; None to leave that out."""
    from assistant.engine.local.engine import LocalEngine
    from benchmarks.gpu import inside

    inside.limit_trial(trial_s)
    with contextlib.closing(LocalEngine(load, slots=slots, queue=256, drafts=drafts)) as engine:
        yield engine


def loading(place: Place, model: str | Path, dtype: str = "auto", slots: int = 8) -> Callable:
    """Loads a checkpoint as the program does. model: a folder, or "embedded"."""
    from assistant.engine.checkpoint.load import load_checkpoint
    from assistant.settings import Settings

    settings = Settings(model=str(model), dtype=dtype, device=place.device, slots=slots)
    return lambda: load_checkpoint(settings)
