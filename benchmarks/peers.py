"""llama.cpp's server, in an interpreter of its own: a contender (see contenders.py) behind pipes.

    .venv-peers/bin/python -m benchmarks.peers MODEL [--type q8_0] [--threads N]

Ids go in and come out by its route /completion. Each prompt of a batch has a slot of its own, which
keeps what it holds for the next turn. Imports nothing of the assistant, and no torch.
"""

import argparse
import contextlib
import json
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xllamacpp

from benchmarks.apart import serve
from benchmarks.timeline import Reply
from benchmarks.to_gguf import requantise, write_gguf

# Greedy, by the sampler that has the least to do; and each reply runs to its full length.
GREEDY = {"temperature": 0, "samplers": ["top_k"], "top_k": 1, "ignore_eos": True}


class LlamaCpp:
    """The model in the GGUF file `path`. threads: None for as many as it chooses itself."""

    reuses = True

    def __init__(self, path: Path, kind: str, threads: int | None, sizes: tuple[int, int]):
        self.name = f"llama.cpp {kind}"
        self.weight_bytes, self.kv_bytes = sizes
        self.path, self.threads = path, threads
        with self._server(1, 256) as (_, chosen):
            self.about = f"xllamacpp {xllamacpp.__version__} ({_instructions()}), {chosen} threads"

    @contextlib.contextmanager
    def session(self, batch: int, length: int):
        with self._server(batch, length) as (url, _), ThreadPoolExecutor(batch) as readers:
            yield lambda *arguments: _run(url, readers, *arguments)

    @contextlib.contextmanager
    def _server(self, batch: int, length: int):
        """Its address, and how many threads it computes with."""
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(self.path)
        parameters.n_parallel, parameters.n_ctx = batch, batch * length
        parameters.cache_ram_mib = 0  # no copies of what leaves a slot
        parameters.fit_params = False  # it would change n_ctx
        parameters.verbosity = -1
        if self.threads:
            parameters.cpuparams.n_threads = self.threads
        server = xllamacpp.Server(parameters)
        # One that is closed before it has answered hangs.
        server.handle_completions({"prompt": [0], "max_tokens": 1})
        yield server.listening_address, parameters.cpuparams.n_threads


def _instructions() -> str:
    """What it was compiled for, of which a prebuilt package has less than the machine may."""
    said = xllamacpp.get_system_info().replace("CPU :", "").split("|")
    return " ".join(part.split()[0] for part in said if part.strip().endswith("= 1"))


def _run(url, readers, prompts, new_tokens):
    """The server tells the time between first and last token, and this clock when the last one was
    there: those between are spread evenly."""
    started = time.perf_counter()

    def ask(slot_and_prompt):
        slot, prompt = slot_and_prompt
        body = {"prompt": prompt, "n_predict": new_tokens, "id_slot": slot, **GREEDY}
        request = urllib.request.Request(
            f"{url}/completion",
            json.dumps({**body, "cache_prompt": True, "return_tokens": True}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
        end = time.perf_counter() - started
        between = answer["timings"]["predicted_ms"] / 1e3 / max(new_tokens - 1, 1)
        times = [end - between * left for left in range(new_tokens - 1, -1, -1)]
        return Reply(answer["tokens"], times)

    return list(readers.map(ask, enumerate(prompts)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="a checkpoint's folder, or a GGUF file")
    parser.add_argument("--type", choices=("f32", "q8_0", "file"), default="q8_0")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        if arguments.model.is_dir():
            sizes = write_gguf(arguments.model, path, arguments.type)
        else:
            if arguments.type == "file":
                path = arguments.model
            else:
                requantise(arguments.model, path, arguments.type)
            sizes = path.stat().st_size, 0  # the file's; what a token's KV takes is not known
        serve(LlamaCpp(path, arguments.type, arguments.threads, sizes))


if __name__ == "__main__":
    main()
