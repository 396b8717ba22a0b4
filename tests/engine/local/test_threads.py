"""How many threads compute: what may be, what is fastest, and when that is tried again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from assistant.engine.local import threads as module
from assistant.engine.local.threads import Threads, thread_counts, usable_cores


class Clock:
    """Time that passes only where a pass says so."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)

    def run(self, threads, seconds, size=1):
        """One pass that takes seconds[number of threads]; gives that number."""
        with threads.computing(size):
            count = torch.get_num_threads()
            self.now += seconds[count]
        return count


@pytest.fixture
def clock(monkeypatch):
    before = torch.get_num_threads()
    yield Clock(monkeypatch)
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),  # half a core
        ({"cpu.max": "9900000 100000\n"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"own": "0::/a/b\n", "a/b/cpu.max": "200000 100000\n"}, 2),  # outside a container
        ({"own": "0::/a/b\n", "a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000"}, 2),
        ({"own": "0::/../../elsewhere\n"}, 8),
        ({"own": "nonsense"}, 8),
        (
            {
                "own": "5:cpu,cpuacct:/a\n3:memory:/a\n",
                "cpu/a/cpu.cfs_quota_us": "400000",
                "cpu/a/cpu.cfs_period_us": "100000",
            },
            4,
        ),
    ],
)
def test_cores_are_those_that_the_process_may_use(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path, tmp_path / "own") == cores


@pytest.mark.parametrize(
    ("cores", "openmp", "asked", "expected"),
    [
        (1, 8, None, [1]),
        (2, 8, None, [1, 2]),
        (6, 8, None, [1, 2, 4, 6]),
        (8, 8, None, [1, 2, 4, 8]),
        (8, 1, None, [1]),  # OMP_NUM_THREADS=1
        (8, 3, None, [1, 2, 3]),
        (8, 1, 4, [4]),  # --threads decides
        (2, 2, 64, [2]),
    ],
)
def test_what_may_be_tried(monkeypatch, cores, openmp, asked, expected):
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    monkeypatch.setattr(module.torch, "get_num_threads", lambda: openmp)
    assert thread_counts(asked) == expected


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0, 2: 0.6, 4: 0.4, 8: 0.3}, 8),
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, 1),
        ({1: 1.0, 2: 0.6, 4: 0.9, 8: 2.0}, 2),
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}, 8),  # nothing is gained by a change
    ],
)
def test_the_fastest_number_is_found_at_load(clock, seconds, best):
    threads = Threads([1, 2, 4, 8])
    threads.settle(
        lambda: setattr(clock, "now", clock.now + seconds[torch.get_num_threads()]), 1, 1e9
    )
    assert (threads.count, threads.settled) == (best, True)


def test_trying_ends_when_its_time_is_over(clock):
    threads = Threads([1, 2])
    threads.settle(lambda: setattr(clock, "now", clock.now + 1), 1, 3)
    assert clock.now == 3 and not threads.settled


def run(clock, threads, passes, seconds, size=1):
    return [clock.run(threads, seconds, size) for _ in range(passes)]


def test_slower_passes_are_answered_by_another_trial(clock):
    alone, in_company = {1: 1.0, 2: 0.5}, {1: 1.0, 2: 3.0}
    threads = Threads([1, 2])
    run(clock, threads, 40, alone)
    assert threads.count == 2 and set(run(clock, threads, 20, alone)) == {2}
    run(clock, threads, 100, in_company)
    assert threads.count == 1
    # The company leaves: nothing gets slower, but it is tried again now and then.
    run(clock, threads, 700, alone)
    assert threads.count == 2


def test_a_single_slow_pass_starts_no_trial(clock):
    threads = Threads([1, 2])
    run(clock, threads, 40, {1: 1.0, 2: 0.5})
    for _ in range(5):
        clock.run(threads, {2: 30.0})
        assert set(run(clock, threads, 3, {2: 0.5})) == {2}


def test_passes_of_other_sizes_are_not_compared(clock):
    """Larger passes fall to one number of threads alone: that says nothing."""
    threads = Threads([1, 2])
    while threads._plan:
        size = 9 if threads._plan[0] == 2 and len(threads._plan) % 2 else 1
        clock.run(threads, {1: 1.0, 2: 0.5 * size}, size)
    assert threads.count == 2


def test_a_number_that_results_depend_on_stays(clock):
    threads = Threads([1, 2, 4])
    threads.fix()
    assert set(run(clock, threads, 600, {4: 1.0})) == {4} and threads.settled


def test_a_pass_that_fails_counts_for_nothing(clock):
    threads = Threads([1, 2])
    planned = len(threads._plan)
    with pytest.raises(ValueError), threads.computing(1):
        raise ValueError
    assert len(threads._plan) == planned


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
    ],
)
def test_waiting_is_set_before_torch_is_loaded_and_can_be_chosen(given, expected):
    code = (
        "import sys, os, assistant; assert 'torch' not in sys.modules; "
        "print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environ = {name: value for name, value in os.environ.items() if name not in names}
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=environ | given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == expected


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed on Linux")
def test_nothing_is_computed_with_several_threads_where_modules_are_read():
    """The thread that reads them would keep a helper, one more than the cores are: from then on
    OpenMP's threads wait asleep, and decode of a larger model takes half as long again."""
    code = (
        "import os, torch; torch.set_num_threads(2); before = os.listdir('/proc/self/task'); "
        "import assistant.engine.local.engine, assistant.engine.checkpoint.load; "
        "assert os.listdir('/proc/self/task') == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
