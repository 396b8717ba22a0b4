"""What int4 weights cost: how far from float32 they are, by the inputs of a group and by the head,
and how long a product takes.

    python -m benchmarks.int4 [--model embedded | FOLDER] [--gguf FILE] [--part quality speed]

quality: transformers' module in float32, its linear layers replaced by ours, on the text that the
embedded checkpoint was never trained on, or on Python's own library for another. speed: a product
beside int8's and float32's, in turn. Prints Markdown.
"""

import argparse
import inspect
import itertools
import json
import lzma
import math
import pydoc_data.topics
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers

from assistant.engine.model import int8
from assistant.engine.model.int4 import GROUP, Int4, quantize
from assistant.engine.model.linear import Dense, Int8
from benchmarks import machine, report
from benchmarks.models import EMBEDDED, find_model

WINDOW = 512  # tokens that are read at once
LENGTH, SIZE = 3500, 10_000  # characters of a held-out text; of one of the library
SHAPES = ((8192, 2048), (1536, 576), (1024, 256))
ROWS = (1, 2, 4, 8, 16, 64, 256)
REPEAT, LEAST_S = 9, 0.01


def texts(folder: Path):
    """{kind: text}"""
    corpus = folder / "corpus.jsonl.xz"
    if not corpus.exists():
        english = "".join(pydoc_data.topics.topics.values())
        return {"Python": inspect.getsource(argparse)[:SIZE], "English": english[:SIZE]}
    with lzma.open(corpus) as lines:
        held_out = [text for text in map(json.loads, lines) if text["held_out"]]
    return {
        kind: "\n".join(t["text"][:LENGTH] for t in held_out if t["path"].endswith(".py") == code)
        for kind, code in (("Python", True), ("English", False))
    }


def layer(weight, bias, kind):
    """kind: "int8", or the inputs of a group."""
    if kind == "int8":
        return Int8(int8.quantize(weight), bias)
    return Int4(quantize(weight, kind), bias)


def replace(module, linear, head):
    """The module's linear layers in the kinds `linear` and `head`; None: as they are."""
    for part in module.modules():
        if isinstance(part, torch.nn.Linear | transformers.pytorch_utils.Conv1D):
            part.__dict__.pop("forward", None)
            if kind := head if part is module.get_output_embeddings() else linear:
                weight = part.weight if isinstance(part, torch.nn.Linear) else part.weight.T
                bias = None if part.bias is None else part.bias.bfloat16()
                ours = layer(weight.detach(), bias, kind)
                part.forward = lambda x, ours=ours: (
                    ours(x.flatten(0, -2).bfloat16()).view(*x.shape[:-1], -1).float()
                )


def quality(folder: Path, gguf: str | None):
    """Rows: int8, and each group size with each head, against float32."""
    options = {"gguf_file": gguf} if gguf else {}
    module = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, **options
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
    ids = {kind: torch.tensor(tokenizer(text).input_ids) for kind, text in texts(folder).items()}
    rows = {kind: i[: len(i) // WINDOW * WINDOW].view(-1, WINDOW) for kind, i in ids.items()}

    def logits(kind):
        return torch.cat([module(row[None]).logits for row in rows[kind]]).float()

    def loss(kind, logits):
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), rows[kind][:, 1:].flatten()).item()

    exact = {kind: logits(kind) for kind in rows}
    yield ["float32", ""] + [f"{math.exp(loss(kind, exact[kind])):.2f}" for kind in rows]
    kinds = [("int8", "int8")]
    kinds += itertools.product((32, 64, 128), (None, "int8", GROUP))
    for linear, head in kinds:
        replace(module, linear, head)
        cells = []
        for kind in rows:
            given = logits(kind)
            worse = math.expm1(loss(kind, given) - loss(kind, exact[kind]))
            same = (given.argmax(-1) == exact[kind].argmax(-1)).float().mean().item()
            divergence = F.kl_div(
                given.log_softmax(-1).flatten(0, 1),
                exact[kind].log_softmax(-1).flatten(0, 1),
                reduction="batchmean",
                log_target=True,
            ).item()
            cells.append(f"{worse:+.2%}, {same:.1%}, {divergence:.4f}")
        name = linear if linear == "int8" else f"int4, groups of {linear}"
        yield [name, {None: "float32", GROUP: "int4"}.get(head, head), *cells]


def speed(threads: int):
    """Rows: microseconds of a product of each kind, medians, in turn."""
    torch.set_num_threads(threads)
    for (out, width), count in itertools.product(SHAPES, ROWS):
        weight, x = torch.randn(out, width), torch.randn(count, width)
        rows = x.bfloat16()
        ways = {
            "int4": (Int4(quantize(weight), None), rows),
            "int8": (Int8(int8.quantize(weight), None), rows),
            "float32": (Dense(weight, None), x),
        }
        times = {name: [] for name in ways}
        for _, (name, (compute, given)) in itertools.product(range(REPEAT), ways.items()):
            times[name].append(_seconds(compute, given))
        cells = [f"{1e6 * statistics.median(times[name]):,.0f}" for name in ways]
        yield [f"{threads}", f"{out} x {width}", f"{count}", *cells]


def _seconds(compute, x) -> float:
    """Of one call, in the mean of as many as take LEAST_S."""
    calls, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < LEAST_S:
        compute(x)
        calls += 1
    return passed / calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--model", default=EMBEDDED, help=f"{EMBEDDED}, or a folder")
    add("--gguf", metavar="FILE", help="in that folder; needs the packages gguf and accelerate")
    add("--part", nargs="+", choices=("quality", "speed"), default=["quality", "speed"])
    add("--threads", nargs="+", type=int, default=[1, 2])
    arguments = parser.parse_args()
    print(machine.where(machine.bandwidth()))
    with torch.inference_mode():
        if "quality" in arguments.part:
            folder = find_model(arguments.model, "")
            rows = list(quality(folder, arguments.gguf))
            print("\nPerplexity, same argmax, Kullback-Leibler divergence:\n")
            print(report.markdown(["layers", "head", "Python", "English"], rows))
        if "speed" in arguments.part:
            rows = itertools.chain.from_iterable(map(speed, arguments.threads))
            head = ["threads", "weight", "rows", "int4", "int8", "float32"]
            print("\nMicroseconds of a product:\n")
            print(report.markdown(head, list(rows)))


if __name__ == "__main__":
    main()
