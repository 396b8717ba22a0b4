"""Runs short programs that nobody has read, a model's for instance, and says what went wrong.

Each has a number of steps to run, so that what is endless ends, on any machine, at the same place;
all run in another process with little memory and an empty folder. That is no wall: what was written
to do harm could. Knows no models.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence

Check = tuple[str, str, Sequence[str]]  # title, code, expressions that are true after it has run
STEPS_MAX = 300_000
_MEMORY = 1 << 30  # bytes
_SECONDS = 120  # of processor time, for all
_RUN = """
import contextlib, io, json, os, resource, sys
MEMORY, SECONDS, STEPS_MAX = MEMORY_, SECONDS_, STEPS_MAX_
resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
said = sys.stdout
class Endless(BaseException): pass
def trace(frame, event, value):
    global left
    if frame.f_code.co_filename != "program":
        return None
    frame.f_trace_opcodes = True  # a loop on one line has no second line event
    left -= 1
    if left < 0:
        raise Endless("runs on and on")
    return trace
for code, checks in json.load(sys.stdin):
    names, left = {"__name__": "answer"}, STEPS_MAX
    sys.stdin = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            compiled = compile(code, "program", "exec")
            sys.settrace(trace)
            exec(compiled, names)
            wrong = [check for check in checks if not eval(check, names)]
    except BaseException as error:
        wrong = [repr(error)[:200]]
    sys.settrace(None)
    print(json.dumps(wrong), file=said, flush=True)
"""
for _name, _value in (("MEMORY", _MEMORY), ("SECONDS", _SECONDS), ("STEPS_MAX", STEPS_MAX)):
    _RUN = _RUN.replace(f"{_name}_", str(_value))


def run_all(programs: Sequence[Check]) -> dict[str, list[str]]:
    """What is wrong with those that are not right: the checks that failed, or an error; with those
    behind one that ended the process, that they did not run."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _RUN],
            input=json.dumps([(code, list(checks)) for _, code, checks in programs]),
            capture_output=True,
            text=True,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "TMPDIR": folder},
        )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    found += [["was not run"]] * (len(programs) - len(found))
    return {title: wrong for (title, _, _), wrong in zip(programs, found, strict=True) if wrong}
