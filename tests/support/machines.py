"""The engine's tests, as other machines would run them: python -m tests.support.machines

Older processors through the variables that MKL, torch and oneDNN read, fewer and more threads, and
beside a busy process: pairs of these, of what this processor has. Prints a line for each; the exit
code is 1 if one of them failed.
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass

FILES = (
    *("model/model", "model/linear", "model/int8", "local/calibrate", "local/engine"),
    *("local/step", "local/drafts", "local/cache"),
)
# What torch calls it, in the words of MKL, torch and oneDNN
ISAS = {
    "SSE4.2": ("SSE4_2", "default", "SSE41"),
    "AVX2": ("AVX2", "avx2", "AVX2"),
    "AVX-512": ("AVX512", "avx512", "AVX512_CORE"),
}
KNOWN = {"DEFAULT": ("SSE4.2",), "AVX2": ("SSE4.2", "AVX2"), "AVX512": tuple(ISAS)}


@dataclass(frozen=True)
class Machine:
    """isa: a name of ISAS, None for this processor's own. busy: beside a process that computes."""

    isa: str | None
    threads: int
    busy: bool

    def __str__(self) -> str:
        company = ", beside a busy process" if self.busy else ""
        return f"{self.isa or 'as found'}, threads {self.threads}{company}"

    @property
    def environ(self) -> dict[str, str]:
        names = ("MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
        isa = dict(zip(names, ISAS[self.isa], strict=True)) if self.isa else {}
        return {**os.environ, **isa, "OMP_NUM_THREADS": str(self.threads)}

    def test(self, arguments: list[str], timeout_s: float = 900) -> subprocess.CompletedProcess:
        """pytest with `arguments` on this machine."""
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        with company(self.busy):
            return subprocess.run(
                command, env=self.environ, capture_output=True, text=True, timeout=timeout_s
            )


def machines() -> list[Machine]:
    """All pairs of an instruction set, a number of threads and a company that this processor has,
    in as few machines as hold them."""
    import platform

    import torch

    x86 = platform.machine() in ("x86_64", "AMD64")
    isas = (*KNOWN[torch.backends.cpu.get_cpu_capability()], None) if x86 else (None,)
    found = []
    for place, isa in enumerate(isas):
        for threads in (1, 2, 4):
            found.append(Machine(isa, threads, busy=(place + threads) % 2 == 0))
    found += [Machine(isas[-1], threads, busy) for threads in (1, 2, 4) for busy in (True, False)]
    return list(dict.fromkeys(found))


@contextmanager
def company(busy: bool):
    """A process that computes without end beside the block, on whichever core it gets."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        yield
    finally:
        if other:
            other.kill()
            other.wait()


def main() -> int:
    files = ["tests/engine/{}/test_{}.py".format(*name.split("/")) for name in FILES]
    failed = 0
    for machine in machines():
        started = time.monotonic()
        run = machine.test(files)
        summary = (run.stdout.strip().splitlines() or [run.stderr.strip()[-200:]])[-1]
        print(f"{machine}: {summary} (in all {time.monotonic() - started:.0f} s)", flush=True)
        if run.returncode:
            failed += 1
            print(run.stdout, run.stderr, sep="\n", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
