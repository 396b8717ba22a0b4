"""Which device each layer gets: plans over cards and memory that are made up."""

import itertools
import logging
from dataclasses import replace

import pytest
import torch

from assistant.engine import card
from assistant.engine.checkpoint import placement as module
from assistant.engine.checkpoint.placement import Placement, fill, place_layers
from assistant.engine.checkpoint.shapes import (
    bytes_needed,
    count_kv,
    expected_shapes,
    shares,
    weight_bytes,
)
from assistant.engine.device import RESERVE
from assistant.engine.model.config import Rope
from assistant.errors import CheckpointError
from assistant.settings import Settings
from tests.support.engines import STARCODER

CPU, ZERO, ONE = torch.device("cpu"), torch.device("cuda:0"), torch.device("cuda:1")
GB = 10**9
UNTIED = replace(STARCODER, tied=False, rope=None, gated=True)
HALF = torch.bfloat16


@pytest.fixture
def machine(monkeypatch):
    """machine(0's, 1's, ..., cpu=...): GB that are free. older: the cards that lack bfloat16.
    oldest: those that torch cannot compute on."""

    def make(*cards, cpu=0.0, older=(), oldest=()):
        kinds = [
            card.Card("a card", (3, 5) if n in oldest else (7, 5) if n in older else (9, 0))
            for n in range(len(cards))
        ]
        here = card.Machine("2.13.0", "13.0", ("sm_75", "sm_90"), tuple(kinds), present=True)
        monkeypatch.setattr(card, "inspect_machine", lambda: here)
        monkeypatch.setattr(
            card, "at", lambda device: None if device.type == "cpu" else kinds[device.index or 0]
        )
        monkeypatch.setattr(
            module,
            "free_bytes",
            lambda device: GB * (cpu if device.type == "cpu" else cards[device.index or 0]),
        )

    return make


def find(device="auto", dtype="auto", slots=8, config=STARCODER, window=8192):
    settings = Settings(device=device, dtype=dtype, slots=slots)
    return place_layers(config, settings, "some model", window)


def counts(placement):
    return [(str(device), len([*same])) for device, same in itertools.groupby(placement.layers)]


@pytest.mark.parametrize(
    "cards, cpu, device, dtype, expected",
    [  # StarCoder's layers are 0.80 GB each in two bytes, 0.42 in int8; 33 GB and 19 GB in all
        ((40,), 90, "auto", "auto", [("cuda", 40)]),
        ((40, 40), 90, "auto", "auto", [("cuda:0", 40)]),
        ((30, 40), 90, "auto", "auto", [("cuda:1", 40)]),
        ((24, 24), 90, "auto", "auto", [("cuda:0", 27), ("cuda:1", 13)]),
        ((24, 24), 90, "auto", "int8", [("cuda:0", 40)]),
        ((12, 12), 90, "auto", "int8", [("cuda:0", 22), ("cuda:1", 18)]),
        ((10, 10), 90, "auto", "int4", [("cuda:0", 27), ("cuda:1", 13)]),
        ((12, 30), 90, "auto", "auto", [("cuda:0", 12), ("cuda:1", 28)]),
        ((24, 8), 90, "auto", "auto", [("cuda:0", 27), ("cuda:1", 9), ("cpu", 4)]),
        ((10, 10), 24, "auto", "auto", [("cuda:0", 9), ("cuda:1", 11), ("cpu", 20)]),
        ((1, 30), 90, "auto", "auto", [("cuda:1", 34), ("cpu", 6)]),
        ((24, 24), 90, "cuda:1,cuda:0", "auto", [("cuda:1", 27), ("cuda:0", 13)]),
        ((24, 40), 90, "cuda:0,cuda:1", "auto", [("cuda:1", 40)]),
        ((24,), 90, "cuda,cpu", "auto", [("cuda:0", 27), ("cpu", 13)]),
        ((24,), 90, "cuda:0, cpu", "float16", [("cuda:0", 27), ("cpu", 13)]),
        ((12,), 90, "cuda:0,cpu", "int8", [("cuda:0", 22), ("cpu", 18)]),
        ((4, 4), 90, "cuda:0,cuda:1,cpu", "auto", [("cuda:0", 2), ("cuda:1", 3), ("cpu", 35)]),
    ],
)
def test_plans(machine, caplog, cards, cpu, device, dtype, expected):
    machine(*cards, cpu=cpu)
    placement = find(device, dtype)
    assert counts(placement) == expected and len(placement.layers) == 40
    assert str(placement.device) == expected[0][0]
    assert placement.choice == ("bfloat16" if dtype == "auto" else dtype)
    on_cpu = dict(expected).get("cpu")
    said = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert [f"{on_cpu} of its 40 layers are computed by the CPU" in line for line in said] == (
        [True] if on_cpu else []
    )
    smaller = {"int8": "int4", "float16": "int8 or int4", "auto": "int8 or int4"}.get(dtype)
    advice = f"; --dtype {smaller} needs less memory." if smaller else "takes much longer."
    assert all(line.endswith(advice) for line in said)


def test_no_smaller_form_than_int4_is_advised(machine, caplog):
    machine(8, cpu=90)
    assert CPU in find("cuda:0,cpu", "int4").layers
    assert "computed by the CPU" in caplog.text and "--dtype" not in caplog.text


def test_older_cards_are_not_advised_int4(machine, caplog):
    machine(8, cpu=90, older=[0])
    assert CPU in find("cuda:0,cpu").layers
    assert "; --dtype int8 needs less memory." in caplog.text


def test_older_cards_decide_on_the_numbers_of_all(machine):
    machine(24, 24, cpu=90, older=[0])
    placement = find()
    assert (placement.choice, placement.dtype) == ("float16", torch.float16)
    machine(9, 9, cpu=9, older=[1])
    with pytest.raises(CheckpointError, match="int4 needs a card .* 8.0 and cuda:1 has less"):
        find(dtype="int4")


@pytest.mark.parametrize("older", [0, 1])
def test_a_card_that_holds_it_alone_computes_in_its_own_numbers(machine, older):
    newer = 1 - older
    machine(*(24 if n == older else 40 for n in range(2)), cpu=90, older=[older])
    for dtype, choice in (("auto", "bfloat16"), ("int4", "int4")):
        placement = find(dtype=dtype)
        assert placement.choice == choice and placement.dtype is HALF
        assert counts(placement) == [(f"cuda:{newer}", 40)]
    machine(*(40 if n == older else 24 for n in range(2)), cpu=90, older=[older])
    assert (find().choice, counts(find())) == ("float16", [(f"cuda:{older}", 40)])


def test_a_card_that_is_too_old_is_left_out(machine):
    machine(40, 40, cpu=90, oldest=[0])
    assert counts(find()) == [("cuda:1", 40)]
    machine(40, 24, 24, cpu=90, oldest=[0])
    assert counts(find()) == [("cuda:1", 27), ("cuda:2", 13)]
    machine(40, cpu=90, oldest=[0])
    assert counts(find()) == [("cpu", 40)]


@pytest.mark.parametrize(
    "cards, cpu, device, dtype, sentence",
    [
        (
            (10, 8),
            4,
            "auto",
            "auto",
            "some model needs 33.1 GB of memory in bfloat16, and 0.9 GB more on each device that "
            "holds a part of it; free are 10.0 on cuda:0, 8.0 on cuda:1, 4.0 on cpu: give "
            "--dtype int8 --slots 7 or a smaller checkpoint with --model.",
        ),
        ((9, 9), 3, "auto", "float32", "give --dtype int8 --slots 2 or a smaller checkpoint"),
        (
            (17.5, 17.5),
            1,
            "cuda:0,cuda:1",
            "auto",
            "give --slots 7 or --window 7168 or --dtype int8 or a smaller",
        ),
        ((9, 9), 3, "auto", "int8", "1.2 GB more on each device that holds a part of it; free are"),
        ((9, 9), 3, "auto", "int8", "give --slots 2 or --window 2048 or --dtype int4 or a smaller"),
        ((1, 1), 60, "auto", "auto", "1.0 on cuda:1, 60.0 on cpu: give a smaller checkpoint with"),
        ((4, 4), 60, "cuda:0,cuda:1", "int4", "4.0 on cuda:1: give a smaller checkpoint with"),
    ],
)
def test_a_model_that_fits_nowhere(machine, cards, cpu, device, dtype, sentence):
    machine(*cards, cpu=cpu)
    with pytest.raises(CheckpointError) as caught:
        find(device, dtype)
    said = str(caught.value)
    assert sentence in said and said.endswith(".") and "\n" not in said
    machine(40, 40, cpu=90)
    assert find(device).layers


def test_what_is_named_helps(machine):
    """Each flag that the sentence names, by itself."""
    machine(17.5, 17.5)
    for flags in ({"slots": 7}, {"window": 7168}, {"dtype": "int8"}):
        assert find("cuda:0,cuda:1", **flags).layers
    with pytest.raises(CheckpointError):
        find("cuda:0,cuda:1", slots=8)


@pytest.mark.parametrize(
    "device, sentence",
    [
        ("cuda:0,cuda:2", "--device cuda:2 cannot be used: torch sees 2 CUDA devices here"),
        ("cuda:0,card", "--device must be auto, cpu, cuda or cuda:N, or several of them"),
        ("cuda:01", "--device must be auto, cpu, cuda or cuda:N, or several of them"),
        ("cuda:" + "9" * 5000, "--device must be auto, cpu, cuda or cuda:N, or several of them"),
        ("cuda:\N{ARABIC-INDIC DIGIT ONE}", "--device must be auto, cpu, cuda or cuda:N"),
        ("cuda:0,", "--device must be auto, cpu, cuda or cuda:N, or several of them"),
        ("cpu,cuda:0", "must name cards, each once, with or without cpu behind them"),
        ("cuda,cuda:0", "must name cards, each once"),
        ("cpu,cpu", "must name cards, each once"),
        ("auto,cpu", "must name cards, each once"),
    ],
)
def test_devices_that_cannot_be_used(machine, device, sentence):
    machine(24, 24, cpu=90)
    with pytest.raises(CheckpointError, match=sentence):
        find(device)
    assert find("cuda:0,cuda:1").layers


@pytest.mark.parametrize("config", [STARCODER, UNTIED])
@pytest.mark.parametrize("kind", [None, "int8", "int4"])
def test_a_share_is_no_less_than_what_one_card_needs(config, kind):
    """All shares on one card are what bytes_needed says, or more by what is held for a while."""
    layer, outer, beside = shares(config, 8, HALF, kind)
    needed = bytes_needed(config, 8, ZERO, HALF, kind)
    needed -= count_kv(config) * HALF.itemsize  # a single card has a slot more
    assert 0 <= outer + config.layers * layer + beside - needed <= beside + outer
    held = sum(weight_bytes(config, HALF, kind))
    assert held < layer + outer


@pytest.mark.parametrize("layers", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", [None, "int8", "int4"])
def test_a_device_holds_its_part(machine, layers, kind):
    """A card with just enough for some layers gets those, and with a byte less one fewer."""
    layer, outer, beside = shares(STARCODER, 8, HALF, kind)
    room = (outer + layers * layer + beside + RESERVE) / GB
    for less, count in ((0, layers), (2, layers - 1)):
        machine(room - less / GB, 90 * (kind is None), cpu=90)
        placement = find("cuda:0,cpu", "bfloat16" if kind is None else kind)
        assert placement.layers.count(ZERO) == count and placement.layers.count(CPU) == 40 - count


def test_filling():
    assert fill([6, 3, 100], 3, 5) == [0, 0, 1, 2, 2]
    assert fill([-5, 2.9, 15], 3, 5) == [2] * 5
    assert fill([6, 3, 5], 3, 5) is None


def test_tensors_go_with_their_layers():
    placement = Placement("bfloat16", HALF, 8192, ZERO, (ZERO,) * 20 + (ONE,) * 19 + (CPU,))
    parts = placement.split(expected_shapes(STARCODER))
    layers = {device: {name.split(".")[1] for name in part if name.startswith("layers.")}
              for device, part in parts.items()}  # fmt: skip
    assert layers == {
        ZERO: {str(n) for n in range(20)},
        ONE: {str(n) for n in range(20, 39)},
        CPU: {"39"},
    }
    outer = {name for name in parts[ZERO] if not name.startswith("layers.")}
    assert outer == {"tokens.weight", "positions.weight", "final_norm.weight", "final_norm.bias"}


def test_the_window_of_a_model_that_knows_more_positions(machine):
    """One card of several that holds it serves as long a window as it would alone; in parts it is
    the least one."""
    config = replace(STARCODER, positions=65_536, rope=Rope((1.0,) * 64), kv_heads=4)
    machine(80, 30, cpu=90)
    alone = find("cuda:0", config=config).window
    assert 8192 < alone < 65_536
    assert find("auto", config=config).window == alone
    machine(30, 30, cpu=90)
    placement = find("auto", config=config)
    assert len({*placement.layers}) > 1 and placement.window == 8192


@pytest.mark.parametrize("device", ["cuda:0,cpu", "cuda:0,cuda:1"])
def test_a_card_that_lacks_the_slot_more_gets_one_layer_less(machine, device):
    """All layers on it would be a model on one card, which has that slot."""
    config = replace(STARCODER, kv_heads=48)  # its slots are larger than all that is for a while
    needed = bytes_needed(config, 8, ZERO, HALF) + RESERVE
    for less, layers in ((2, 39), (-2, 40)):
        machine((needed - less) / GB, 24, cpu=90)
        assert find(device, "bfloat16", config=config).layers.count(ZERO) == layers
