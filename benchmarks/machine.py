"""The machine: its name, how fast it reads memory, and whether it was left alone meanwhile."""

import contextlib
import datetime
import os
import sys
import time
from importlib.metadata import version

import psutil

from benchmarks.start import machine, processor

DISTURBED = 0.05  # of the machine's time, used by other processes: such a run is done again
TRIES = 5
PATIENCE = 60  # looks of 0.3 s, until one is quiet, before each try
STREAM_BYTES = 2**30  # larger than any cache

disturbed_runs = 0  # measurements that count though others used the machine meanwhile


def has_cuda() -> bool:
    import torch  # late: here and below, so that the assistant can be imported before it

    return torch.cuda.is_available()


def dtypes() -> list[str]:
    """What our engine is measured in: bfloat16 too where the processor multiplies it."""
    fast = {"amx_bf16", "avx512_bf16", "bf16"} & set(processor()[1])
    return ["int8", "float32", *(["bfloat16"] if fast else [])]


def bandwidth(repeat=40):
    """Bytes per second that this machine reads on the CPU (a sum over 1 GiB), or copies on a GPU
    (bytes read plus written); the best of `repeat`."""
    import torch

    cuda = torch.cuda.is_available()
    data = torch.ones(STREAM_BYTES // 4, device="cuda" if cuda else "cpu")
    copy = torch.empty_like(data) if cuda else None
    best = 0.0
    for _ in range(repeat):
        started = time.perf_counter()
        if cuda:
            copy.copy_(data)
            torch.cuda.synchronize()
        else:
            data.sum()
        best = max(best, data.nbytes * (2 if cuda else 1) / (time.perf_counter() - started))
    return best


def where(bytes_per_s):
    """The machine and the versions, in a sentence."""
    import torch

    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    rate = f"{'copies' if gpu else 'reads'} {bytes_per_s / 1e9:,.0f} GB/s from memory"
    return (
        f"{datetime.date.today()}, {gpu}{machine()}, torch {torch.__version__}, "
        f"transformers {version('transformers')}; {rate}"
    )


def undisturbed(measure, *arguments):
    """What `measure(*arguments)` gives in a run in which other processes did next to nothing.

    Two threads that wait for each other hundreds of times a token are slowed tenfold by a third
    one. After TRIES disturbed runs the last one counts, and that is said.
    """
    for _ in range(TRIES):
        for _ in range(PATIENCE):
            if not _disturbed(time.sleep, 0.3)[0]:
                break
        disturbed, result = _disturbed(measure, *arguments)
        if not disturbed:
            return result
    global disturbed_runs
    disturbed_runs += 1
    print("other processes kept the machine busy during a measurement", file=sys.stderr)
    return result


def _disturbed(measure, *arguments):
    """Whether other processes used more than DISTURBED of the machine meanwhile, and the result."""
    others, started = _others(), time.perf_counter()
    result = measure(*arguments)
    room = DISTURBED * (time.perf_counter() - started) * os.cpu_count()
    return _others() - others > 0.02 + room, result


def _others():
    """Seconds of processor time that all but this process and its children, those that have
    ended too, have used."""
    every, process, own = psutil.cpu_times(), psutil.Process(), 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            own += sum(each.cpu_times()[:4])
    return every.user + every.nice + every.system - own
