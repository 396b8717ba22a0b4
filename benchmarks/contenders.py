"""The engine as a contender: prompts of ids in, a Reply for each out, greedily.

Each contender has a name, what it is and computes in (`about`), the bytes that a decode step reads
(`weight_bytes` once, `kv_bytes` for each token of context), and `session(batch, length)`, a context
in which it serves `batch` requests of up to `length` tokens at a time and which gives
`run(prompts, new_tokens) -> [Reply]`. `reuses`: whether it keeps prefixes. As a program, it serves
itself to another process (see apart.py). The others are in with_transformers.py and peers.py.
"""

import contextlib
import sys
import time
from importlib.metadata import version

from assistant.engine.checkpoint.load import load_checkpoint
from assistant.engine.checkpoint.shapes import count_kv, count_parameters
from assistant.engine.local.engine import LocalEngine
from assistant.engine.protocol import Finished, Piece, Request
from assistant.sampling import Sampling
from assistant.settings import Settings
from benchmarks.apart import serve
from benchmarks.sizes import BYTES
from benchmarks.timeline import Reply

LOOK_S = 0.002  # between two looks at many streams
GREEDY = Sampling(temperature=0)


def open_ours(model, dtype, *, slots, drafts=False):
    """The engine as the program opens it; drafts only where they are what is measured."""
    settings = Settings(model=str(model), dtype=dtype, slots=slots)
    return LocalEngine(lambda: load_checkpoint(settings), slots=slots, queue=slots, drafts=drafts)


def follow(stream, started=0.0, reply=None):
    """Reads a stream of the engine to its end: its Reply, which grows meanwhile, and its last
    item, a Finished unless the stream was closed."""
    reply, item = reply or Reply([], []), None
    for item in stream:
        if isinstance(item, Piece):
            reply.times.extend([time.perf_counter() - started] * len(item.ids))
            reply.ids.extend(item.ids)
    return reply, item


class Ours:
    """The engine of this repository, each request read by a thread of its own."""

    reuses = True

    def __init__(self, engine, dtype):
        self.engine, self.name = engine, f"ours {dtype}"
        config, cache = engine._scheduler.model.config, engine._scheduler.cache
        positions = 0 if config.rope else config.window * config.width  # of which it looks one up
        self.weight_bytes = (count_parameters(config) - positions) * BYTES[dtype]
        self.kv_bytes = count_kv(config) // config.window * cache.kv[0].element_size()
        self.about = f"torch {version('torch')}, {engine.numerics}"

    @contextlib.contextmanager
    def session(self, batch, length):
        yield self.run

    def run(self, prompts, new_tokens):
        started = time.perf_counter()
        requests = [Request(tuple(p), GREEDY, new_tokens) for p in prompts]
        if len(requests) == 1:
            return [follow(self.engine.generate(requests[0]), started)[0]]
        # As the server does it: one thread looks at all of them, and none is woken for a token.
        replies = [Reply([], []) for _ in requests]
        open_streams = {
            reply_to: self.engine.generate(request, wait_s=0)
            for reply_to, request in enumerate(requests)
        }
        while open_streams:
            for number, stream in list(open_streams.items()):
                item = next(stream)
                if isinstance(item, Piece):
                    now = time.perf_counter() - started
                    replies[number].ids.extend(item.ids)
                    replies[number].times.extend([now] * len(item.ids))
                elif isinstance(item, Finished):
                    del open_streams[number]
            time.sleep(LOOK_S)
        return replies

    def close(self):
        self.engine.close()


def main():
    """Serve the engine to another process: `ours MODEL DTYPE SLOTS [drafts]`."""
    _, model, dtype, slots, *rest = sys.argv[1:]
    engine = open_ours(model, dtype, slots=int(slots), drafts="drafts" in rest)
    serve(Ours(engine, dtype))


if __name__ == "__main__":
    main()
