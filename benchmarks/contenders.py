"""The engine and its peers behind one face: prompts of ids in, a Reply for each out, greedily.

Each contender has a name, the bytes that a decode step reads (`weight_bytes` once, `kv_bytes` for
each token of context), and `session(batch, length)`, a context in which it serves `batch` requests
of up to `length` tokens at a time and which gives `run(prompts, new_tokens) -> [Reply]`. `reuses`:
whether it keeps prefixes. As a program, it serves one of them to another process; see apart.py.
"""

import contextlib
import sys
import time

import torch
import transformers
from transformers import ContinuousBatchingConfig, StoppingCriteria, StoppingCriteriaList

from assistant.engine import Finished, Piece, Request
from assistant.engine.checkpoint import load_checkpoint
from assistant.engine.local import LocalEngine
from assistant.sampling import Sampling
from assistant.settings import Settings
from benchmarks.apart import serve
from benchmarks.timeline import Reply

LOOK_S = 0.002  # between two looks at many streams
GREEDY = Sampling(temperature=0)
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


def streamed_weights(config):
    """How many weights a decode step reads: all but the positions, of which it looks one up."""
    width, inner = config.n_embd, config.n_inner or 4 * config.n_embd
    attention = width * (width + 2 * width // config.n_head) + width * width
    return config.n_layer * (attention + 2 * width * inner) + config.vocab_size * width


def kv_values(config):
    """How many numbers a token has in the KV cache."""
    return 2 * config.n_layer * config.n_embd // config.n_head


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

    def __init__(self, engine, config, dtype):
        self.engine, self.name = engine, f"ours {dtype}"
        self.weight_bytes = streamed_weights(config) * BYTES[dtype]
        self.kv_bytes = kv_values(config) * engine._scheduler.cache.kv[0].element_size()

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


class _Clock(StoppingCriteria):
    """Notes when each step of `generate` is done, and stops nothing."""

    def __init__(self):
        self.started, self.times = time.perf_counter(), []

    def __call__(self, input_ids, scores, **_):
        input_ids[0, -1].item()  # on a GPU: the step is done, not only launched
        self.times.append(time.perf_counter() - self.started)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class Generate:
    """transformers' `generate`: all prompts as one batch, and no prefix kept between calls."""

    name, reuses = "generate", False

    def __init__(self, module):
        module.generation_config.eos_token_id = None  # every reply runs to its full length
        module.generation_config.pad_token_id = 0
        self.module = module
        size = module.dtype.itemsize
        self.weight_bytes = streamed_weights(module.config) * size
        self.kv_bytes = kv_values(module.config) * size

    @contextlib.contextmanager
    def session(self, batch, length):
        yield self.run
        if self.module.device.type == "cuda":
            torch.cuda.empty_cache()  # of what a large batch took, for the engine beside it

    def run(self, prompts, new_tokens):
        ids = torch.tensor(prompts, device=self.module.device)
        clock = _Clock()
        out = self.module.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=new_tokens,
            stopping_criteria=StoppingCriteriaList([clock]),
        )
        return [Reply(row, clock.times) for row in out[:, ids.shape[1] :].tolist()]

    def close(self):
        pass


class Continuous(Generate):
    """transformers' continuous batching, with its blocks shared between prompts."""

    name, reuses = "continuous batching", True

    @contextlib.contextmanager
    def session(self, batch, length):
        pages = batch * (-(-length // ContinuousBatchingConfig.page_size) + 2)
        with self.module.continuous_batching_context_manager(
            continuous_batching_config=ContinuousBatchingConfig(num_blocks=2 * pages)
        ) as manager:
            yield lambda *arguments: self._run(manager, *arguments)

    def _run(self, manager, prompts, new_tokens):
        started = time.perf_counter()
        options = {"max_new_tokens": new_tokens, "record_timestamps": True, "eos_token_id": -1}
        names = [manager.add_request(prompt, **options) for prompt in prompts]
        results = [manager.get_result() for _ in prompts]
        if None in results or any(result.error for result in results):
            raise RuntimeError("transformers' continuous batching failed")
        by_name = {result.request_id: result for result in results}
        return [
            Reply(r.generated_tokens, [time - started for time in r.timestamps])
            for r in map(by_name.get, names)
        ]


def main():
    """Serve one contender to another process: `ours MODEL DTYPE SLOTS [drafts]`, or in float32
    `generate MODEL` or `continuous MODEL`."""
    kind, model, *rest = sys.argv[1:]
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if kind == "ours":
        config = transformers.GPTBigCodeConfig.from_pretrained(model)
        dtype, slots = rest[:2]
        engine = open_ours(model, dtype, slots=int(slots), drafts="drafts" in rest)
        serve(Ours(engine, config, dtype))
    else:
        module = transformers.GPTBigCodeForCausalLM.from_pretrained(model, dtype="float32").eval()
        serve({"generate": Generate, "continuous": Continuous}[kind](module))


if __name__ == "__main__":
    main()
