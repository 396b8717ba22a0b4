"""Runs short programs that nobody has read, a model's for instance, and says what went wrong.

Each runs in a process and an empty folder of its own, with little memory and a number of steps, so
that what is endless ends at the same place on any machine. That is no wall: what was written to do
harm could. Knows no models.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence

Check = tuple[str, str, Sequence[str]]  # title, code, expressions that are true after it has run
_RUN = """
import json, os, resource, select, signal, sys, tempfile
STEPS_MAX = 300_000
SECONDS = 20  # of processor, and of waiting
MEMORY, FILE = 1 << 30, 1 << 20  # bytes

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

def run(code, checks):
    global left
    names, left = {"__name__": "answer"}, STEPS_MAX
    try:
        compiled = compile(code, "program", "exec")
        sys.settrace(trace)
        exec(compiled, names)
        return [check for check in checks if not eval(check, names)]
    except BaseException as error:
        return [repr(error)[:200]]
    finally:
        sys.settrace(None)

def child(write, code, checks):
    os.setpgrp()
    for kind, most in (("AS", MEMORY), ("CPU", SECONDS), ("FSIZE", FILE)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (most, most))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.write(write, json.dumps(run(code, checks)).encode())

def judged(code, checks):
    read, write = os.pipe()
    process = os.fork()
    if not process:
        os.close(read)
        try:
            child(write, code, checks)
        finally:
            os._exit(0)
    os.close(write)
    ready, _, _ = select.select([read], [], [], SECONDS)
    said = os.read(read, 1 << 16) if ready else b""
    try:
        os.killpg(process, signal.SIGKILL)
    except OSError:
        pass
    os.waitpid(process, 0)
    os.close(read)
    return json.loads(said) if said else ["ended early, or waits"]

programs = json.load(sys.stdin)
print(json.dumps([judged(*program) for program in programs]))
"""


def run_all(programs: Sequence[Check]) -> dict[str, list[str]]:
    """What is wrong with those that are not right, by title: the checks that are false, or why
    they could not be looked at."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _RUN],
            input=json.dumps([(code, list(checks)) for _, code, checks in programs]),
            capture_output=True,
            text=True,
            check=True,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "TMPDIR": folder},
        )
    found = zip(programs, json.loads(done.stdout), strict=True)
    return {title: wrong for (title, _, _), wrong in found if wrong}
