"""The engine beside its peers, on the same weights and ids: decode speed and time to first token.

    python -m benchmarks.engine [--model embedded | 34m | FOLDER] [--write] [--part speed promises]

On the CPU: this repository's engine, transformers' `generate` and continuous batching in float32,
and llama.cpp where `make bench-peers` has installed it. On a machine with a GPU: StarCoder's
geometry with random weights made on the device; see gpu.py. Prints Markdown; --write also puts it
into RESULTS.md, and the plot into docs/images.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import transformers

from assistant.engine.checkpoint import MODELS
from assistant.errors import AssistantError
from benchmarks import gpu, machine, promises, report, speed
from benchmarks.contenders import Continuous, Generate, LlamaCpp, Ours, open_ours

ROOT = Path(__file__).parent.parent
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SHAPE_34M = {  # between the embedded checkpoint and what a laptop still serves well
    "n_layer": 8,
    "n_embd": 512,
    "n_head": 8,
    "vocab_size": 16_384,
    "n_positions": 8_192,
}


def find_model(name, folder):
    """The checkpoint's folder; a random one is made in `folder`."""
    if name == "34m":
        from tests.checkpoints import make_checkpoint

        return make_checkpoint(folder, initializer_range=0.05, **SHAPE_34M)
    if name == "embedded":
        return next(MODELS.glob("*/config.json")).parent
    return Path(name)


def open_contenders(model, arguments):
    """All that can be opened on this machine's CPU, ours first; says what is missing."""
    module = transformers.GPTBigCodeForCausalLM.from_pretrained(model, dtype="float32").eval()
    slots, found = max(arguments.batch), []
    for dtype in arguments.dtype:
        try:
            found.append(Ours(open_ours(model, dtype, slots=slots), module.config, dtype))
        except AssistantError as error:
            print(f"ours {dtype} is not measured: {error}")
    found += [Generate(module), Continuous(module)]
    python = arguments.peers_python
    if python.exists():
        found += [LlamaCpp(python, model, module.config, kind) for kind in ("f32", "q8_0")]
    else:
        print("llama.cpp is not measured: `make bench-peers` installs it.")
    return found, module.config


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--model", default="embedded", help="embedded, 34m (random weights), or a folder")
    add("--part", nargs="+", choices=("speed", "promises"), default=["speed", "promises"])
    add("--dtype", nargs="+", default=["int8", "float32"], help="of our engine; the first promises")
    add("--batch", nargs="+", type=int, default=[1, 4, 16, 64])
    add("--context", nargs="+", type=int, default=[512, 2000, 6000])
    add("--tokens", type=int, help="leave out cells with more in all")
    add("--new-tokens", type=int, default=128)
    add("--repeat", type=int, default=3)
    add("--peers-python", type=Path, default=PEERS_PYTHON)
    add("--write", action="store_true", help="into RESULTS.md and docs/images")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    cuda = torch.cuda.is_available()
    arguments.tokens = arguments.tokens or (600_000 if cuda else 40_000)
    if cuda:
        return gpu.run(arguments)
    bandwidth = machine.bandwidth()
    where = machine.where(bandwidth)
    print(where, end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        model = find_model(arguments.model, folder)
        name = "34m" if arguments.model == "34m" else model.name
        contenders, config = open_contenders(model, arguments)
        try:
            for part in arguments.part:
                title = f"Engine, {part}: {name}"
                if part == "speed":
                    text = speed.tables(
                        contenders, arguments, bandwidth, config.vocab_size, f"engine-{name}.png"
                    )
                else:
                    text = promises.measure(model, contenders, config, arguments)
                print(f"## {title}\n\n{text}")
                if arguments.write:
                    report.write_section(title, f"{where}\n\n{text}")
        finally:
            for contender in contenders:
                contender.close()


if __name__ == "__main__":
    main()
