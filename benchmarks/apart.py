"""A contender in a process of its own, spoken to in lines of JSON.

On a CPU two of them in one process would disturb each other for as long as it lives: each thread
that computes has a team of helpers, and once there are more of these than cores, libgomp lets them
sleep between two operators in place of spinning, which costs several times a small operator's time.
"""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.timeline import Reply

ROOT = Path(__file__).parent.parent
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
FACTS = ("name", "about", "reuses", "weight_bytes", "kv_bytes")  # of a contender, its first line
# The assistant first: it says how OpenMP's threads wait, which is read when torch is loaded.
_OURS = "import assistant, runpy; runpy.run_module('benchmarks.contenders', run_name='__main__')"


def in_process(function, *arguments):
    """`function(*arguments)`, computed in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def environment() -> dict[str, str]:
    """This process' environment as it was before the assistant was imported: how threads wait is
    for each other process to say itself."""
    return {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}


class Apart:
    """A contender (see contenders.py) behind the pipes of `command`, which runs in `folder`. Raises
    RuntimeError when that cannot start, or ends."""

    def __init__(self, *command, folder: Path = ROOT):
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = ""  # older checkouts do not tell
        self.__dict__ |= self._read()

    @classmethod
    def ours(cls, *arguments, folder: Path = ROOT):
        """The engine of the checkout in `folder`. arguments: see contenders.main."""
        return cls(sys.executable, "-c", _OURS, "ours", *arguments, folder=folder)

    @classmethod
    def transformers(cls, *arguments):
        """One of with_transformers.py, in this interpreter."""
        return cls(sys.executable, "-m", "benchmarks.with_transformers", *arguments)

    @classmethod
    def llama_cpp(cls, *arguments):
        """llama.cpp, in an interpreter of its own. arguments: see peers.main."""
        if not PEERS_PYTHON.exists():
            raise RuntimeError("`make bench-peers` installs it")
        return cls(PEERS_PYTHON, "-m", "benchmarks.peers", *arguments)

    def _read(self):
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it has ended"}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    @contextlib.contextmanager
    def session(self, batch, length):
        yield lambda prompts, new_tokens: self._run(prompts, new_tokens, length)

    def _run(self, prompts, new_tokens, length):
        request = {"prompts": prompts, "new_tokens": new_tokens, "length": length}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self._read()
        return [Reply(*row) for row in zip(answer["ids"], answer["times"], strict=True)]

    def close(self):
        self.process.communicate()


def open_each(openers: dict[str, Callable[[], Apart]]) -> list[Apart]:
    """Those that can be opened, each under its name; says of the others why they are not
    measured."""
    found = []
    for name, opener in openers.items():
        try:
            found.append(opener())
            found[-1].name = name
        except RuntimeError as error:
            print(f"{name} is not measured: {error}.")
    return found


def serve(contender):
    """Answer the lines of stdin; a session lasts while batch and length stay as they are."""
    print(json.dumps({name: getattr(contender, name) for name in FACTS}), flush=True)
    shape, run, stack = None, None, contextlib.ExitStack()
    with stack:
        for line in sys.stdin:
            request = json.loads(line)
            wanted = len(request["prompts"]), request["length"]
            try:
                if wanted != shape:
                    stack.close()
                    run, shape = stack.enter_context(contender.session(*wanted)), wanted
                replies = run(request["prompts"], request["new_tokens"])
                answer = {"ids": [r.ids for r in replies], "times": [r.times for r in replies]}
            except Exception as error:  # whatever it is, the other cells are measured
                answer, shape = {"error": f"{type(error).__name__}: {error}"}, None
            print(json.dumps(answer), flush=True)
