"""Parts of make gpu that fail, hang and die, for test_make_gpu.py; quick to import."""

import os
import signal
import subprocess
import sys
import time

from benchmarks.gpu.place import OVER
from benchmarks.report import Line


def look(place):
    yield Line("a card", "is here")


def no_card(place):
    yield Line("", "There is no card.", False)


def right(place):
    yield Line("one", "1 | 2", True)
    yield Line("two", "2")


def short(place):
    yield Line("one", "1")
    yield Line("two", f"not tried: {OVER}")


def wrong(place):
    yield Line("one", "1", True)
    yield Line("two", "not 2", False)
    yield Line("three", "3", True)


def failing(place):
    yield Line("one", "1", True)
    print("what it wrote", file=sys.stderr)
    raise ValueError("it cannot")


def dying(place):
    yield Line("one", "1", True)
    os.kill(os.getpid(), signal.SIGSEGV)


def hanging(place):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield Line("one", str(other.pid), True)
    time.sleep(600)
