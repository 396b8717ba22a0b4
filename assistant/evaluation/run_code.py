"""Runs the Python code of a reply and the assertions of its question, in a process of its own.

No sandbox: the code may read what the person may read and reach the network. It starts in an empty
folder without environment, with limits on time, memory, file size and processes (the last one
does not bind root), and it is killed with all processes of its group.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress

from assistant.errors import SettingsError

CPU_S = 5
WALL_S = 10
MEMORY_BYTES = 512 * 1024**2
FILE_BYTES = 1024**2
PASSED = 77  # the exit code behind the last assertion; a reply that ends the process gives another

# The limits are set here and not between fork and exec, which is unsafe in a program with threads.
_CHILD = """
import json, os, resource, sys
limits, code, asserts, passed = json.load(sys.stdin)
for name, limit in limits.items():
    try:
        resource.setrlimit(getattr(resource, name), (limit, limit))
    except (AttributeError, ValueError, OSError):
        pass  # a system without this limit
names = {"__name__": "reply"}
exec(compile(code, "reply", "exec"), names)
exec(compile(asserts, "asserts", "exec"), names)
os._exit(passed)
"""
_LIMITS = {
    "RLIMIT_CPU": CPU_S,
    "RLIMIT_AS": MEMORY_BYTES,
    "RLIMIT_FSIZE": FILE_BYTES,
    "RLIMIT_CORE": 0,
    "RLIMIT_NPROC": 0,
}


def check_system() -> None:
    """Raises SettingsError where processes cannot be limited."""
    if os.name != "posix":
        raise SettingsError(
            "--run-code needs a POSIX system such as Linux, whose processes can be limited; "
            "leave it out here."
        )


def run_code(code: str, asserts: str, *, wall_s: float = WALL_S) -> str | None:
    """None where `code` runs and all `asserts` hold behind it; else in a few words why not.

    wall_s: seconds after which the process group is killed.
    """
    check_system()
    task = json.dumps([_LIMITS, code, asserts, PASSED]).encode()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as errors,
    ):
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=folder,
                env={},
                start_new_session=True,
            )
        except OSError as error:  # such as no room for one more process
            return f"could not be run: {error.strerror}"
        try:
            process.communicate(task, timeout=wall_s)
        except subprocess.TimeoutExpired:
            return f"still running after {wall_s:g} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode == PASSED:
            return None
        if process.returncode == -signal.SIGXCPU or process.returncode == -signal.SIGKILL:
            return f"more than {CPU_S} s of processor time, or killed"
        errors.seek(0)
        last = errors.read(FILE_BYTES).decode(errors="replace").strip().rpartition("\n")[2]
        return last[:200] or f"ended before the assertions, exit code {process.returncode}"
