"""Programs that nobody has read: each ends, and what it did does not reach the next one."""

import pytest

from training.running import run_all

HEALTHY = ("healthy", "x = 1", ["x == 1"])


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
        ("x = ' ' * (1 << 31)", "MemoryError"),
        ("x = input()", "EOFError"),
        ("print('x' * 1000); x = 2", "x == 1"),
        ("open('large', 'w').write('x' * (1 << 22))", "OSError"),
    ],
)
def test_what_is_wrong_is_said_and_the_next_one_runs(code, expected):
    found = run_all([("given", code, ["x == 1"]), HEALTHY])
    assert set(found) == {"given"} and expected in found["given"][0]


def test_what_ends_the_process_is_wrong_and_so_is_what_did_not_run():
    found = run_all([HEALTHY, ("ends", "import os; os._exit(0)", []), HEALTHY[:1] + HEALTHY[1:]])
    assert found == {"ends": ["was not run"], "healthy": ["was not run"]}
    assert run_all([HEALTHY]) == {}
