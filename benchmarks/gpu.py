"""StarCoder's geometry on a GPU, with random weights made there: nothing is downloaded.

The weights are shared with transformers' module, so that the peers run beside the engine on one
80 GB card. Timings do not depend on the weights' values; texts mean nothing.
"""

from types import SimpleNamespace

import torch
import transformers

from assistant.engine.local import LocalEngine
from benchmarks import machine, promises, report, speed
from benchmarks.contenders import Ours
from benchmarks.timeline import median
from benchmarks.with_transformers import Continuous, Generate

GEOMETRY = {  # StarCoder, 15.5 B parameters (arXiv:2305.06161)
    "n_layer": 40,
    "n_embd": 6144,
    "n_head": 48,
    "n_inner": 24576,
    "vocab_size": 49152,
    "n_positions": 8192,
    "activation_function": "gelu",
    "bos_token_id": 0,
    "eos_token_id": 0,
}
SPREAD = 0.02  # of the weights: a fresh model's
CHATS = (1, 2, 4, 8, 16, 32, 64, 128)
CONTEXT = 6000


class _Numbers:
    """A tokenizer for ids that mean nothing: every token's text is empty."""

    special, eos_id = {"<|endoftext|>": 0}, 0

    def __len__(self):
        return GEOMETRY["vocab_size"]

    def decode(self, ids):
        return ""

    def decoder(self):
        return SimpleNamespace(feed=lambda ids: "", flush=lambda: "")


def random_module(config, device, dtype):
    """transformers' module with its weights drawn on `device`, never on the CPU."""
    with torch.device("meta"):
        module = transformers.GPTBigCodeForCausalLM(config)
    module = module.to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    for name, tensor in module.named_parameters():
        tensor.requires_grad_(False)
        if "ln_" in name and name.endswith("weight"):
            tensor.fill_(1.0)
        elif name.endswith("bias"):
            tensor.zero_()
        else:
            tensor.normal_(std=SPREAD, generator=generator)
    module.tie_weights()
    return module.eval()


def random_checkpoint(module):
    """What LocalEngine opens: the module's own tensors under their names in a checkpoint."""
    tensors = {
        name.removeprefix("transformer."): tensor.data for name, tensor in module.named_parameters()
    }
    return SimpleNamespace(
        name="random StarCoder",
        revision=None,
        embedded=False,
        config=module.config,
        tensors=tensors,
        tokenizer=_Numbers(),
        dtype="bfloat16",
    )


def run(arguments, geometry=GEOMETRY, device="cuda"):
    """All tables; prints them, and writes them with --write."""
    bandwidth = machine.bandwidth()
    where = machine.where(bandwidth)
    print(where, end="\n\n")
    config = transformers.GPTBigCodeConfig(**geometry)
    module = random_module(config, device, torch.bfloat16)
    engine = LocalEngine(
        lambda: random_checkpoint(module), slots=max(CHATS), queue=max(CHATS), drafts=False
    )
    ours = Ours(engine, config, "bfloat16")
    try:
        for title, text in _tables(ours, module, arguments, bandwidth):
            print(f"## {title}\n\n{text}\n")
            if arguments.write:
                report.write_section(title, f"{where}\n\n{text}")
    finally:
        ours.close()


def _tables(ours, module, arguments, bandwidth):
    vocabulary = module.config.vocab_size
    contenders = [ours, Generate(module), Continuous(module)]
    text = speed.tables(contenders, arguments, bandwidth, vocabulary, "engine-15b.png")
    yield "Engine, speed: 15.5 B, random weights", text

    lines = list(promises.admission(ours.engine, vocabulary, arguments.repeat, CONTEXT))
    yield "Engine, a long prompt is admitted: 15.5 B", report.promises(lines)

    options = {"new_tokens": arguments.new_tokens, "vocabulary": vocabulary}
    cells = [(chats, CONTEXT) for chats in CHATS]
    table = speed.measure([ours], cells, repeat=arguments.repeat, **options)
    head = ["chats", "context", "tokens/s (share of bandwidth)", "tokens/s of each"]
    rows = []
    for (chats, context), cell in table.items():
        times = cell.get(ours.name, speed.Times())
        rate = median(times.decode)
        text = speed.decode_cell(times, ours, (chats, context), bandwidth)
        rows.append([str(chats), f"{context:,}", text, f"{rate / chats:.1f}" if rate else ""])
    yield "Engine, chats at once: 15.5 B", report.markdown(head, rows)
