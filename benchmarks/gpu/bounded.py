"""A part in a process of its own, killed at its bound: what hangs there, or breaks the card's
context, takes no other part with it.

The process is started while the part before still runs: it loads torch meanwhile, and then waits.
"""

import contextlib
import faulthandler
import importlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from assistant.errors import AssistantError
from benchmarks.gpu.place import DEAD_S, Part, Place
from benchmarks.report import Line

ENDED = "runs to its end"
ON_CPU = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}  # the next part starts on the other core
TAIL = 4000  # characters of what a part that failed has written
_SPAWN = multiprocessing.get_context("spawn")


class Bounded:
    """One part. timed_out: it was killed. output: what it has written, for one that failed."""

    def __init__(self, part: Part, device: str, folder: Path):
        self.part, self.device, self.timed_out = part, device, False
        self.folder = folder / part.name
        self.folder.mkdir()
        self._pipe, theirs = _SPAWN.Pipe()
        arguments = part, device, self.folder / "output", theirs
        self._process = _SPAWN.Process(target=_child, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def lines(self, seconds: float) -> Iterator[Line]:
        """What it finds, as it comes, for at most so long."""
        ends = time.monotonic() + seconds
        try:
            self._pipe.send(Place(self.device, ends, self.folder))
            while self._pipe.poll(max(ends - time.monotonic(), 0)):
                line = self._pipe.recv()
                if line is None:
                    return self._process.join(DEAD_S)
                yield line
            self.timed_out = True
        except (EOFError, OSError):
            self._process.join(DEAD_S)
            yield Line(ENDED, f"its process ended with {self._process.exitcode}", False)
        finally:
            self.close()

    def close(self) -> None:
        """End it, and what it has started."""
        if self._pipe.closed:
            return
        self._pipe.close()
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()

    @property
    def output(self) -> str:
        path = self.folder / "output"
        return path.read_text(errors="replace")[-TAIL:].strip() if path.exists() else ""


def _child(part: Part, device: str, output: Path, pipe) -> None:
    os.setsid()
    os.environ |= part.environ
    if device == "cpu":
        os.environ |= ON_CPU
    with output.open("w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    faulthandler.enable()
    try:
        module, name = part.run.split(":")
        run = getattr(importlib.import_module(module), name)
        place = pipe.recv()
        # Where it hangs is seen in its output.
        faulthandler.dump_traceback_later(max(place.ends - time.monotonic() - DEAD_S / 2, 0.01))
        for line in run(place):
            pipe.send(line)
    except EOFError:
        return
    except Exception as error:  # whatever it is, the other parts run
        traceback.print_exc()
        pipe.send(Line(ENDED, _sentence(error), False))
    pipe.send(None)


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{sys.executable} has no {error.name}: install requirements.txt, or name another "
            "Python with make gpu PYTHON=..."
        )
    text = str(error) if isinstance(error, AssistantError) else repr(error)
    return text.partition("\n")[0][:300]
