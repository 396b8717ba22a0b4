"""A contender in a process of its own, spoken to in lines of JSON.

On a CPU two of them in one process would disturb each other for as long as it lives: each thread
that computes has a team of helpers, and once there are more of these than cores, libgomp lets them
sleep between two operators in place of spinning, which costs several times a small operator's time.
"""

import contextlib
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

from benchmarks.timeline import Reply

ROOT = Path(__file__).parent.parent
FACTS = ("name", "reuses", "weight_bytes", "kv_bytes")  # of a contender, the first line it writes


def in_process(function, *arguments):
    """`function(*arguments)`, computed in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


class Apart:
    """A contender (see contenders.py) behind the pipes of `command`. Raises RuntimeError when that
    cannot start, or ends."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.__dict__ |= self._read()

    @classmethod
    def of(cls, *arguments):
        """One of contenders.py, in this interpreter."""
        return cls(sys.executable, "-m", "benchmarks.contenders", *arguments)

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
