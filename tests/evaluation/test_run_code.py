"""The code of a reply, run: what passes, what fails, what is stopped."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from assistant.evaluation.run_code import run_code
from tests.support.waiting import until

ADD = "def add(a, b):\n    return a + b\n"


def test_what_holds():
    assert run_code(ADD, "assert add(1, 2) == 3") is None


@pytest.mark.parametrize(
    "code, why",
    [
        ("def add(a, b):\n    return a - b", "AssertionError"),
        ("def add(", "SyntaxError"),
        ("", "NameError"),
        ("import numpy_that_is_not_there", "ModuleNotFoundError"),
        ("raise SystemExit", "exit code 0"),
        ("import os; os._exit(0)", "exit code 0"),
        ("import os; os.kill(os.getpid(), 9)", "killed"),
        ("x = bytearray(2**30)", "MemoryError"),
        ("open('x', 'wb').write(bytes(2**21))", "File too large"),
        ("input()", "EOFError"),
        ("raise ValueError('a' * 10**6)", "a" * 100),
    ],
)
def test_what_fails(code, why):
    assert why in run_code(code, "assert add(1, 2) == 3")


def test_main_guards_stay_shut():
    assert (
        run_code(ADD + "if __name__ == '__main__':\n    raise SystemExit(3)", "add(1, 2)") is None
    )


def test_output_is_thrown_away(capfd):
    assert run_code(ADD + "print('x' * 10**6)", "add(1, 2)") is None
    assert capfd.readouterr() == ("", "")


def test_it_has_no_environment_and_an_empty_folder(monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    asserts = "import os, sys\nassert not os.listdir()\nassert 'SECRET' not in os.environ\n"
    asserts += "assert not any('site-packages' in path for path in sys.path)"
    assert run_code("", asserts) is None


def state(pid):
    """The letter of a process, None where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2]
    except OSError:
        return None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_runs_on_is_killed_with_its_children_and_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    note = tmp_path / "child"
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
open({str(note)!r}, "w").write(str(child.pid))
while True:
    pass
"""
    assert run_code(code, "", wall_s=2)
    if note.exists():  # else the limit on processes, which does not bind root, kept it away
        child = note.read_text()
        until(lambda: state(child) in (None, "Z"))
        note.unlink()
    assert list(tmp_path.iterdir()) == []


def test_the_clock_ends_what_sleeps():
    assert (
        run_code("import threading; threading.Event().wait()", "", wall_s=0.5)
        == "still running after 0.5 s"
    )
