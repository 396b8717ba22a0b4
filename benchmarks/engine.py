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
from benchmarks import gpu, machine, promises, report, speed
from benchmarks.apart import ROOT, Apart, in_process

PEERS = Path(__file__).with_name("peers.py")
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
        return in_process(_make_34m, folder)
    if name == "embedded":
        return next(MODELS.glob("*/config.json")).parent
    return Path(name).resolve()


def _make_34m(folder):
    from tests.checkpoints import make_checkpoint

    return make_checkpoint(folder, initializer_range=0.05, **SHAPE_34M)


def open_contenders(model, arguments):
    """All that runs on this machine's CPU, ours first; says what is missing."""
    commands = {
        f"ours {dtype}": ("ours", model, dtype, max(arguments.batch)) for dtype in arguments.dtype
    }
    commands |= {"generate": ("generate", model), "continuous batching": ("continuous", model)}
    found = []
    for name, command in commands.items():
        try:
            found.append(Apart.of(*command))
        except RuntimeError as error:
            print(f"{name} is not measured: {error}.")
    python = arguments.peers_python
    if python.exists():
        found += [Apart(python, PEERS, model, "--type", kind) for kind in ("f32", "q8_0")]
    else:
        print("llama.cpp is not measured: `make bench-peers` installs it.")
    return found


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
    bandwidth = in_process(machine.bandwidth)
    where = machine.where(bandwidth)
    print(where, end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        model = find_model(arguments.model, folder)
        name = "34m" if arguments.model == "34m" else model.name
        config = transformers.GPTBigCodeConfig.from_pretrained(model)
        contenders = open_contenders(model, arguments)
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
