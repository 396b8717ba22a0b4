"""300 changed config.json files, of all families, each beside good weights."""

import json
import random
import tracemalloc

import pytest

from assistant.engine.checkpoint import placement
from assistant.engine.checkpoint.load import load_checkpoint
from assistant.errors import CheckpointError
from assistant.settings import Settings
from tests.engine.checkpoint.test_families import CASES, make_module
from tests.support.checkpoints import make_tokenizer

EACH = 25  # of 12 cases
MORE = 50 << 20  # bytes that a damaged file may take beyond the good one
VALUES = [
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    3,
    7,
    64,
    499,
    501,
    4097,
    1 << 20,
    1 << 31,
    1 << 40,
    1 << 62,
]
VALUES += [
    10**400,
    0.5,
    -0.0,
    1e-300,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "2",
    "\0",
    "gelu",
    "x" * 9999,
]
VALUES += [[], [1], [[[]]], {}, {"rope_type": "yarn"}, {"a": {"b": None}}, ["full_attention"] * 3]


def changed(good, chance):
    """`good` with one key changed, or a few; keys of a part of it too."""
    raw = json.loads(json.dumps(good))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        parts = [raw, *(value for value in raw.values() if isinstance(value, dict) and value)]
        part = chance.choice(parts)
        key = chance.choice(list(part))
        kind = chance.choice(("value", "value", "value", "gone", "new", "times"))
        if kind == "gone":
            del part[key]
        elif kind == "times" and type(part[key]) in (int, float):
            part[key] *= chance.choice((-1, 2, 3, 1000, 10**9))
        else:
            new = chance.choice(("rope_scaling", "head_dim", "scale_attn_weights", "layer_types"))
            part[new if kind == "new" else key] = chance.choice(VALUES)
    return raw


@pytest.mark.parametrize("case", CASES)
def test_a_changed_config_is_read_or_refused(case, tmp_path, monkeypatch):
    monkeypatch.setattr(placement, "free_bytes", lambda device: 8e9)
    make_module(*CASES[case], tmp_path)
    make_tokenizer(tmp_path)
    path = tmp_path / "config.json"
    good = json.loads(path.read_text())
    settings = Settings(model=str(tmp_path), device="cpu", dtype="float32")

    def load():
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            return load_checkpoint(settings)
        finally:
            peaks.append(tracemalloc.get_traced_memory()[1] - before)

    peaks, chance, refused = [], random.Random(case), 0
    tracemalloc.start()
    try:
        load()
        for _ in range(EACH):
            path.write_text(json.dumps(raw := changed(good, chance)))
            try:
                load()
            except CheckpointError as error:
                sentence = str(error)
                assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 600, raw
                refused += 1
            assert peaks[-1] < peaks[0] + MORE, raw
    finally:
        tracemalloc.stop()
    assert refused > EACH / 4
    path.write_text(json.dumps(good))
    assert load()


@pytest.mark.parametrize("key, value", [("num_hidden_layers", 1_001), ("head_dim", 1 << 33)])
def test_what_would_take_memory_before_it_is_reckoned_is_refused(key, value, tmp_path):
    small = {"hidden_size": 2, "intermediate_size": 1, "num_attention_heads": 1, "vocab_size": 1}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "llama", **small, key: value}))
    with pytest.raises(CheckpointError, match=f"{key} is {value}, and may be at most"):
        load_checkpoint(Settings(model=str(tmp_path), device="cpu"))
