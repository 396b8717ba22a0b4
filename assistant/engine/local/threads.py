"""How many threads compute: never more than the cores that this process may use, and as many of
those as are fastest now.

A second thread halves the time of a large product on two free cores, and costs more than it gives
where operators are small or another program has the core. Which it is changes while the program
runs, so it is tried again on the passes that are computed anyway. Knows times; no model.
"""

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

_BLOCK = 4  # passes in a row with the same number of threads
_BLOCKS = 4  # of each number in a trial
_EVERY = 512  # passes after which it is tried again, since a core may have become free
_BETTER = 0.95  # of its time: what another number must need to take its place
_SLOWER = 1.5  # times its usual time: a pass that is slow
_PATIENCE = 8  # slow passes in a row, after which it is tried again


def usable_cores(
    cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int:
    """How many cores this process may use: its affinity, and the least quota of its control group
    and those around it (version 2, else version 1), of which less than one core counts as one.
    own: the file that names its groups."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    for folder in _groups(cgroups, own):
        with contextlib.suppress(OSError, ValueError):
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            if quota != "max" and int(quota) > 0:
                cores = min(cores, max(int(quota) // int(period), 1))
    return cores


def _groups(cgroups: Path, own: Path) -> Iterator[Path]:
    """The folders of the control groups that this process is in, and of those around them. In a
    container the first one has the container's quota, whatever its path is outside."""
    yield from (cgroups, cgroups / "cpu")
    with contextlib.suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                top = cgroups / "cpu" if controllers else cgroups
                inner = top / path.lstrip("/")
                yield from (inner, *(p for p in inner.parents if top in p.parents))


def thread_counts(threads: int | None) -> list[int]:
    """The numbers of threads that may be tried, rising: what --threads names, or else powers of two
    up to the usable cores and what OMP_NUM_THREADS allows."""
    cores = usable_cores()
    if threads:
        return [min(threads, cores)]
    most = min(cores, torch.get_num_threads())
    return [*(1 << n for n in range(most.bit_length()) if 1 << n < most), most]


def fastest(
    compute: Callable[[], object], clock: Callable[[], float], calls: int, patience_s: float
) -> float:
    """Seconds of the fastest of so many calls, or of fewer where they take `patience_s` in all."""
    times: list[float] = []
    while len(times) < calls and sum(times) < patience_s:
        started = clock()
        compute()
        times.append(clock() - started)
    return min(times)


class Threads:
    """The number of threads for one kind of pass, decode or prefill.

    counts: what it may be, rising; the last one is where it begins. With one alone nothing is
    tried. Belongs to the thread that computes.
    """

    def __init__(self, counts: list[int], *, block: int = _BLOCK) -> None:
        self.counts, self.count, self._block = counts, counts[-1], block
        self.settled = len(counts) == 1
        self._usual: dict[int, float] = {}  # seconds of a pass of that size in the last trial
        self._slow = self._passes = 0
        self._begin()

    def fix(self) -> None:
        """Keep the largest number for ever: results depend on it here."""
        self.counts, self.count, self.settled = self.counts[-1:], self.counts[-1], True
        self._begin()

    @contextlib.contextmanager
    def computing(self, size: int) -> Iterator[None]:
        """Compute one pass of `size` rows inside. Times of like sizes are compared."""
        count = self._plan[0] if self._plan else self.count
        torch.set_num_threads(count)
        started = time.perf_counter()
        yield
        self._learn(count, size, time.perf_counter() - started)

    def settle(self, compute: Callable[[], object], size: int, patience_s: float) -> None:
        """Try on passes of `size` rows that `compute` makes, until no other number of threads is
        better or `patience_s` seconds are over."""
        end = time.perf_counter() + patience_s
        while not self.settled and time.perf_counter() < end:
            with self.computing(size):
                compute()

    def _begin(self) -> None:
        """Plan a trial of this number of threads and its neighbours, in turn."""
        place = self.counts.index(self.count)
        near = self.counts[max(place - 1, 0) : place + 2]
        turn = [count for count in near for _ in range(self._block)]
        self._plan = turn * _BLOCKS if len(near) > 1 else []
        self._times: dict[tuple[int, int], list[float]] = defaultdict(list)
        self._near = near

    def _learn(self, count: int, size: int, seconds: float) -> None:
        if len(self.counts) == 1:
            return
        if self._plan:
            self._plan.pop(0)
            self._times[size, count].append(seconds)
            if not self._plan:
                self._choose()
            return
        self._passes += 1
        self._slow = self._slow + 1 if seconds > _SLOWER * self._usual.get(size, seconds) else 0
        if self._slow >= _PATIENCE or self._passes >= _EVERY:
            self._begin()

    def _choose(self) -> None:
        sizes = {size for size, _ in self._times}
        mean = {key: sum(times) / len(times) for key, times in self._times.items()}
        shared = [size for size in sizes if all((size, count) in mean for count in self._near)]
        total = {count: sum(mean[size, count] for size in shared) for count in self._near}
        best = min(self._near, key=lambda count: total[count])
        self.settled = total[best] >= _BETTER * total[self.count]
        if not self.settled:
            self.count = best
        self._usual = {size: mean[size, self.count] for size in shared}
        self._slow = self._passes = 0
        if not self.settled:
            self._begin()  # what lies beyond may be better still
