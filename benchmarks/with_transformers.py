"""transformers' two ways to generate, as contenders (see contenders.py) in float32.

    python -m benchmarks.with_transformers generate|continuous MODEL

Serves one of them to another process. Imports nothing of the assistant, whose import changes how
threads wait.
"""

import contextlib
import sys
import time

import torch
import transformers
from transformers import ContinuousBatchingConfig, StoppingCriteria, StoppingCriteriaList

from benchmarks.apart import serve
from benchmarks.sizes import kv_values, streamed_weights
from benchmarks.timeline import Reply


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
        self.about = f"transformers {transformers.__version__}"

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
        defaults = ContinuousBatchingConfig()  # page_size was called block_size up to 5.17
        size = getattr(defaults, "page_size", None) or defaults.block_size
        pages = batch * (-(-length // size) + 2)
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
    kind, model = sys.argv[1:]
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    module = transformers.GPTBigCodeForCausalLM.from_pretrained(model, dtype="float32").eval()
    serve({"generate": Generate, "continuous": Continuous}[kind](module))


if __name__ == "__main__":
    main()
