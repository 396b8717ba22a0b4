"""The checkpoints that are measured: the embedded one, a random one of a common size, a folder."""

import json
from pathlib import Path

from benchmarks.apart import ROOT, in_process

SHAPE_164M = {  # bigcode/tiny_starcoder_py: the smallest of the family that people run
    "n_layer": 20,
    "n_embd": 768,
    "n_head": 12,
    "n_inner": 3072,
    "vocab_size": 49_152,
    "n_positions": 8_192,
}
EMBEDDED, RANDOM = "embedded", "164m"


def find_model(name: str, folder: str) -> Path:
    """The checkpoint's folder; a random one is made in `folder`."""
    if name == RANDOM:
        return in_process(make_random, folder, SHAPE_164M)
    if name == EMBEDDED:
        return next(ROOT.glob("models/*/config.json")).parent
    return Path(name).resolve()


def make_random(folder: str, shape: dict) -> Path:
    """A checkpoint of this shape with random weights. Its small tokenizer gets a word for each
    further id, so that what the model writes is text."""
    from tests.support.checkpoints import make_checkpoint

    folder = make_checkpoint(Path(folder, RANDOM), initializer_range=0.05, **shape)
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = spec["model"]["vocab"]
    vocabulary |= {f"Ġw{n}": n for n in range(len(vocabulary), shape["vocab_size"])}
    path.write_text(json.dumps(spec), encoding="utf-8")
    return folder
