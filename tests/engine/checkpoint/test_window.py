"""How long a window is served: what memory allows, what is asked for, and that it then holds."""

import psutil
import pytest
import torch

from assistant.engine.checkpoint.load import load_checkpoint
from assistant.engine.checkpoint.shapes import bytes_needed
from assistant.engine.checkpoint.window import choose_window, least_window
from assistant.engine.local.engine import LocalEngine
from assistant.engine.model.config import Config, Rope
from assistant.errors import CheckpointError, WindowError
from assistant.settings import Settings
from tests.engine.checkpoint.test_families import make_module
from tests.support.checkpoints import make_checkpoint, make_tokenizer
from tests.support.engines import greedy, load_module, read

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GIB = 2**30
LONG = 131_072


def config(positions):
    """Of a model whose slot takes 256 KiB for a position in float32, half of it in bfloat16."""
    shape = {"width": 4096, "layers": 32, "heads": 32, "kv_heads": 8, "head_dim": 128}
    sizes = {"vocab_size": 9, "inner": 9, "positions": positions, "window": positions}
    return Config(family="llama", rope=Rope((1.0,)), **shape, **sizes)


@pytest.mark.parametrize(
    "positions, slots, device, free, weights, window",
    [  # a third of the free memory for all slots; on a card there is one slot more, in bfloat16
        (LONG, 8, CPU, 96 * GIB, 0, 16_384),
        (LONG, 8, CPU, 96 * GIB - 1, 0, 15_360),
        (LONG, 1, CPU, 12 * GIB, 0, 16_384),
        (LONG, 8, CUDA, 54 * GIB, 0, 16_384),
        (LONG, 8, CUDA, 54 * GIB - 1, 0, 15_360),
        # never less than 8,192, or than all of fewer positions
        (LONG, 8, CPU, GIB, 0, 8192),
        (LONG, 8, CUDA, GIB, 0, 8192),
        (8192, 8, CPU, GIB, 0, 8192),
        (512, 8, CPU, GIB, 0, 512),
        (9000, 8, CPU, GIB, 0, 8192),
        # never more than there are, and all of them where they fit
        (LONG, 8, CPU, 768 * GIB, 0, LONG),
        (LONG, 8, CPU, 768 * GIB - 1, 0, LONG - 1024),
        (9000, 8, CPU, 99 * GIB, 0, 9000),
        (2**40, 256, CPU, GIB, 0, 8192),
        # what the weights leave: 3.75 GiB beside the reserve
        (LONG, 1, CPU, 64 * GIB, 60 * GIB, 15_360),
        (LONG, 8, CPU, 64 * GIB, 60 * GIB, 8192),
    ],
)
def test_a_window_follows_from_the_free_memory(positions, slots, device, free, weights, window):
    model, dtype = config(positions), torch.float32 if device is CPU else torch.bfloat16
    kv = (slots + (device is CUDA)) * 2**16 * dtype.itemsize
    least = least_window(None, model, "some model")
    given = model, least, slots, device, dtype, free
    assert choose_window(*given, lambda tokens: weights + kv * tokens) == window


@pytest.mark.parametrize("asked, positions", [(256, 256), (300, 8192), (LONG, LONG), (9000, LONG)])
def test_what_is_asked_for_is_served(asked, positions):
    assert least_window(asked, config(positions), "some model") == asked


def test_more_than_the_positions_is_refused():
    with pytest.raises(CheckpointError) as caught:
        least_window(16_385, config(16_384), "some model")
    assert str(caught.value) == (
        "--window 16385 is more than some model was trained for: give at most the 16,384 positions "
        "that it has."
    )


def test_on_a_card_the_copies_of_grouped_keys_count():
    """For each token of the window, and each of 32 heads: a key and a value of 128 numbers."""
    copied = 2 * 32 * 128 * torch.bfloat16.itemsize
    kv = 9 * 2**17
    short, long = (
        bytes_needed(config(positions), 8, CUDA, torch.bfloat16) for positions in (9000, 10_000)
    )
    assert long - short == 1000 * (kv + copied)


# -- loaded checkpoints -----------------------------------------------------------------------


def settings(folder, **options):
    return Settings(model=str(folder), device="cpu", dtype="float32", **options)


@pytest.fixture
def wide(tmp_path):
    """A LLaMA of 131,072 positions, whose slot takes 512 bytes for each of them."""
    folder = make_tokenizer(tmp_path / "wide")
    changes = {"max_position_embeddings": LONG, "num_hidden_layers": 2}
    make_module("llama", changes, folder)
    return folder


def with_free_memory(monkeypatch, free):
    memory = psutil.virtual_memory()._replace(available=free)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


@pytest.mark.parametrize("options", [{"window": 2**17 + 1}, {"window": 2**20, "slots": 1}])
def test_too_long_a_window_is_refused_by_config_json_alone(wide, options):
    (wide / "model.safetensors").unlink()
    (wide / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="131,072 positions that it has.$"):
        load_checkpoint(settings(wide, **options))


def test_a_long_model_is_served_as_far_as_memory_allows(wide, monkeypatch, caplog):
    """And answers at the last position there is, as transformers does."""
    with_free_memory(monkeypatch, 294 * 2**20)
    engine = LocalEngine.open(settings(wide))
    try:
        assert 8192 < engine.window < 16_384
        said = f"wide has a window of {engine.window:,} tokens here, of the 131,072 positions"
        assert any(record.getMessage().startswith(said) for record in caplog.records)
        ids = [(7 * n) % 384 for n in range(engine.window - 1)]
        _, drawn, finished = read(engine.generate(greedy(ids, 1)))
        assert finished.reason == "length"
        module = load_module(wide)
        with torch.inference_mode():
            logits = module(torch.tensor([ids]), logits_to_keep=1).logits
        assert list(drawn) == [logits.argmax().item()]
        with pytest.raises(WindowError, match=f"window holds {engine.window} in all"):
            engine.generate(greedy(ids, 2))
        assert read(engine.generate(greedy(ids[:9], 3)))[2].new_tokens == 3
    finally:
        engine.close()


def test_where_memory_is_short_the_window_is_a_way_out(wide, monkeypatch):
    with_free_memory(monkeypatch, 280 * 2**20)
    with pytest.raises(CheckpointError, match=r"give --slots \d or --window (\d+) or") as caught:
        load_checkpoint(settings(wide))
    window = int(str(caught.value).split("--window ")[1].split()[0])
    assert load_checkpoint(settings(wide, window=window)).config.window == window
    with pytest.raises(CheckpointError, match="give --slots"):
        load_checkpoint(settings(wide, window=window + 1024))


def test_a_learned_table_stays_whole_behind_a_shorter_window(tmp_path, caplog):
    folder = make_checkpoint(tmp_path / "tiny", n_positions=512)
    whole, short = LocalEngine.open(settings(folder)), None
    assert whole.window == 512 and not caplog.records
    try:
        loaded = load_checkpoint(settings(folder, window=300))
        assert not caplog.records  # nothing is said of what was asked for
        assert (loaded.config.positions, loaded.config.window) == (512, 300)
        assert len(loaded.tensors["positions.weight"]) == 512
        short = LocalEngine.open(settings(folder, window=300))
        request = greedy(list(range(20, 280)), 20)
        assert read(short.generate(request))[1] == read(whole.generate(request))[1]
        assert short._scheduler.decode_step.cache.kv[0].shape[2] == short.window == 300
    finally:
        for engine in filter(None, (whole, short)):
            engine.close()
