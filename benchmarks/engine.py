"""The engine beside its peers, on the same weights and ids: decode speed and time to first token.

    python -m benchmarks.engine [--model embedded | 164m | FOLDER] [--write] [--part speed promises]

This repository's engine, transformers' `generate` and continuous batching in float32, and llama.cpp
where `make bench-peers` has installed it, on a CPU; for a GPU there is `make gpu`. Prints Markdown;
--write also puts it into RESULTS.md, and the plot into docs/images.
"""

import argparse
import sys
import tempfile
from functools import partial

import assistant  # noqa: F401 (before torch: it says how threads wait)
from benchmarks import machine, promises, report, speed
from benchmarks.apart import Apart, in_process, open_each
from benchmarks.models import EMBEDDED, RANDOM, find_model
from benchmarks.sizes import read_config


def open_contenders(model, arguments):
    """All that runs on this machine's CPU, ours first; says what is missing."""
    slots = max(arguments.batch)
    openers = {
        f"ours {dtype}": partial(Apart.ours, model, dtype, slots) for dtype in arguments.dtype
    }
    openers["generate"] = partial(Apart.transformers, "generate", model)
    openers["continuous batching"] = partial(Apart.transformers, "continuous", model)
    for kind in ("f32", "q8_0"):
        openers[f"llama.cpp {kind}"] = partial(Apart.llama_cpp, model, "--type", kind)
    return open_each(openers)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--model", default=EMBEDDED, help=f"{EMBEDDED}, {RANDOM} (random weights), or a folder")
    add("--part", nargs="+", choices=("speed", "promises"), default=["speed", "promises"])
    add("--dtype", nargs="+", default=machine.dtypes(), help="of our engine; the first promises")
    add("--batch", nargs="+", type=int, default=[1, 4, 16, 64])
    add("--context", nargs="+", type=int, default=[512, 2000, 6000])
    add("--tokens", type=int, default=40_000, help="leave out cells with more in all")
    add("--new-tokens", type=int, default=128)
    add("--repeat", type=int, default=3)
    add("--write", action="store_true", help="into RESULTS.md and docs/images")
    arguments = parser.parse_args(argv)
    if machine.has_cuda():
        return "This measures on a CPU; what this machine's GPU does: make gpu, --only peers."
    bandwidth = in_process(machine.bandwidth)
    where = machine.where(bandwidth)
    print(where, end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        model = find_model(arguments.model, folder)
        config = read_config(model)
        contenders = open_contenders(model, arguments)
        about = "\n".join(f"- {one.name}: {one.about}" for one in contenders)
        print(about, end="\n\n")
        try:
            for part in arguments.part:
                title = f"Engine, {part}: {model.name}"
                if part == "speed":
                    image = f"engine-{model.name}.png"
                    text = speed.tables(contenders, arguments, bandwidth, config.vocab_size, image)
                else:
                    text = promises.measure(model, contenders, config, arguments)
                print(f"## {title}\n\n{text}")
                if arguments.write:
                    report.write_section(title, f"{where}\n\n{about}\n\n{text}")
        finally:
            for contender in contenders:
                contender.close()


if __name__ == "__main__":
    sys.exit(main())
