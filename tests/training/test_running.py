"""Programs that nobody has read: each ends, and what it did does not reach the next one."""

import pytest

from training.running import run_all

HEALTHY = ("healthy", "x = 1", ["x == 1", "len([1]) == 1"])


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = 2", "x == 1"),
        ("x = ", "SyntaxError"),
        ("raise ValueError('no')", "ValueError('no')"),
        ("while True: pass", "runs on and on"),
        ("while True:\n    try: pass\n    except Exception: pass", "runs on and on"),
        ("def f(): f()\nf()", "RecursionError"),
        ("import sys; sys.exit(0)", "SystemExit(0)"),
        ("import os; os._exit(0)", "ended early"),
        ("import os; os.kill(os.getpid(), 9)", "ended early"),
        ("x = ' ' * (1 << 31)", "MemoryError"),
        ("x = input()", "EOFError"),
        ("import os; os.system('echo hi'); x = 2", "x == 1"),
        ("import sys; print('[]', file=sys.__stdout__); x = 2", "x == 1"),
        ("import builtins; builtins.len = None", "x"),
        ("open('large', 'w').write('x' * (1 << 22))", "OSError"),
    ],
)
def test_what_is_wrong_is_said_and_the_next_one_runs(code, expected):
    found = run_all([("given", code, ["x == 1"]), HEALTHY])
    assert set(found) == {"given"} and expected in found["given"][0]


def test_a_folder_is_empty_for_each():
    code = "import os; x = os.listdir(); open('left', 'w').close()"
    assert run_all([("first", code, ["x == []"]), ("second", code, ["x == []"]), HEALTHY]) == {}
