"""Which weights decode and prefill get on this machine, and what that means for repeating.

Decided at load by trying: int8 weights with bfloat16 rows are several times faster than float32 on
most CPUs, bfloat16 products are faster there or far slower. What is compared is the time that one
thread computes, which other programs do not change: so the same machine chooses the same numbers
at every start. Knows models and times; no requests.
"""

import copy
import functools
import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from math import prod
from types import SimpleNamespace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from assistant.engine.checkpoint.load import Checkpoint
from assistant.engine.checkpoint.shapes import layer_shapes
from assistant.engine.device import on_card, send
from assistant.engine.local.cache import Cache
from assistant.engine.local.threads import fastest
from assistant.engine.model.layers import Part
from assistant.engine.model.linear import Weight
from assistant.engine.model.model import Chunk, Model

log = logging.getLogger(__name__)

_LENGTH = 64  # tokens of the trial
_AGREED = 0.02  # mean divergence of int8's distribution from float32's, in nats
_ROWS = 64  # of the product by which the dtype of prefill is chosen
_PATIENCE_S = 0.5  # what took longer in all is not measured again
_LARGEST = 1e9  # weights, above which it takes too long to try what one thread computes
# Tokens of a prompt that is tried. A card's products change beyond linear._KERNEL_ROWS = 256 rows;
# a CPU's are tiles, and it has to compute them at every start.
_IDS, _IDS_ON_CARD = 150, 300
_DRAWN = 512  # positions of random keys and values: drawing takes longer than copying
_NEAR = 8192  # positions in which most rows of a trial stand: with far ones a start takes minutes


def choose_model(checkpoint: Checkpoint, threads: int = 1) -> Model:
    """The Model of a Checkpoint, in the numbers that its `dtype` names. threads: the most that will
    compute, which decides on the tiles of its products.

    "auto" is int8 for decode where that is faster than float32 and says the same: Kullback-Leibler
    divergence over the next tokens of a trial text. benchmarks/engine.py measures it at length.
    """
    config, tensors, dtype = checkpoint.config, checkpoint.tensors, checkpoint.dtype
    if dtype not in ("auto", "int8") or on_card(cast(Tensor, tensors["tokens.weight"]).device):
        torch.set_num_threads(threads)
        return Model(config, tensors)
    prefill_dtype = _prefill_dtype(tensors)
    torch.set_num_threads(threads)
    model = Model(config, tensors, int8=True, prefill_dtype=prefill_dtype)
    if dtype == "int8":
        return model
    plain = Model(config, tensors)
    torch.set_num_threads(1)
    text = "def total(numbers):\n    return sum(numbers)\n\nprint(total([1, 2, 3]))\n" * 4
    ids = checkpoint.tokenizer.encode(text)[: min(_LENGTH, model.window)]
    expected, plain_s = _trial(plain, ids)
    given, int8_s = _trial(model, ids)
    divergence = F.kl_div(
        given.log_softmax(-1), expected.log_softmax(-1), reduction="batchmean", log_target=True
    )
    chosen = model if int8_s < plain_s and divergence < _AGREED else plain
    log.info(
        "a token takes %.2f ms in float32 and %.2f ms in int8, which diverges by %.4f nats: %s",
        1e3 * plain_s,
        1e3 * int8_s,
        divergence,
        "int8" if chosen is model else "float32",
    )
    return chosen


def _trial(model: Model, ids: Sequence[int]) -> tuple[Tensor, float]:
    """Logits after each of `ids`, all decoded in one step, and the seconds of a step of one."""
    kv = [part.zero_() for part in model.new_kv(1, len(ids))]
    tokens, slots, places = torch.tensor(ids), torch.zeros(len(ids)).long(), torch.arange(len(ids))
    logits = model.decode(tokens, slots, places, kv)
    one = tokens[-1:], slots[-1:], places[-1:]
    return logits, fastest(lambda: model.decode(*one, kv), time.thread_time, 5, _PATIENCE_S)


def _prefill_dtype(tensors: Mapping[str, Weight]) -> torch.dtype:
    """bfloat16 where its product is the faster one: CPUs with instructions for it."""
    weight = cast(Tensor, tensors["layers.0.up.weight"])
    if weight.dtype is torch.bfloat16:
        return torch.bfloat16  # memory is short: no wider copy
    rows = torch.ones(_ROWS, weight.shape[1])
    torch.set_num_threads(1)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        compute = functools.partial(F.linear, rows.to(dtype), weight.to(dtype))
        seconds[dtype] = fastest(compute, time.thread_time, 5, _PATIENCE_S)
    return min(seconds, key=lambda dtype: seconds[dtype])


def is_bitwise_stable(model: Model, cache: Cache) -> bool:
    """Whether results are the same, bit for bit, alone and in company and however a prompt is cut
    into chunks. Overwrites slot 0 and the last one of `cache`."""
    last = len(cache.ids) - 1
    model, cache = _two_layers(model, cache)
    ids = _trial_ids(model)
    whole, expected = _prefill(model, cache, ids)
    count = len(ids)
    cuts = sorted({0, min(17, count), min(18, count), 2 * count // 3, count})
    for start, end in itertools.pairwise(cuts):
        parts = model.prefill([Chunk(ids[start:end], last, start)], cache.kv)
    same = all(
        map(torch.equal, (whole[-len(parts) :], *expected), (parts, *_held(cache, last, ids)))
    )
    most = _decode(model, cache, range(16))  # writes the KV that all of them read
    orders: list[Sequence[int]] = [[0], [7], [15], [1, 0], range(9), range(11), range(15, -1, -1)]
    if _any_card(model):  # the kernels' tiles, and the operators, follow the number of rows
        sizes = [*(size for size in (17, 33, 65, 129) if size < last + 1), last + 1]
        orders += [[n % 16 for n in range(size)] for size in sizes]
    return same and all(
        torch.equal(_decode(model, cache, rows), most[list(rows)]) for rows in orders
    )


def depend_on_threads(model: Model, cache: Cache, counts: Sequence[int]) -> list[bool]:
    """Whether the results of (decode, prefill) depend on how many threads compute them, of which
    `counts` are tried; both do for a model of which even a layer is too large to try.
    Overwrites slot 0 of `cache`."""
    layer = sum(map(prod, layer_shapes(model.config).values()))
    if layer > _LARGEST:
        return [True, True]
    model, cache = _two_layers(model, cache)
    ids = _trial_ids(model)

    def decode() -> Sequence[Tensor]:
        return (_decode(model, cache, range(16)),)

    def prefill() -> Sequence[Tensor]:
        hidden, kv = _prefill(model, cache, ids)
        return hidden, *kv, model.logits(hidden[-1:])

    passes = [decode, prefill]
    depends = [False, False]
    for n in (1, 0):  # decode reads what prefill has written
        torch.set_num_threads(counts[-1])
        expected = passes[n]()
        for count in counts[:-1]:
            torch.set_num_threads(count)
            depends[n] |= not all(map(torch.equal, expected, passes[n]()))
    return depends


def _two_layers(model: Model, cache: Cache) -> tuple[Model, Cache]:
    """The model of the first and the last layer of each part, and its cache: all have the same
    shapes, but some models' last ones have a sliding window."""
    small = copy.copy(model)
    small.parts, kv = [], []
    for part, held in zip(model.parts, cache.kv, strict=True):
        step = max(len(held) - 1, 1)
        small.parts.append(
            Part(part.device, part.prefill[::step], part.decode[::step], part.flat[::step])
        )
        kv.append(held[::step])
    return small, cast(Cache, SimpleNamespace(kv=kv))


def _trial_ids(model: Model) -> list[int]:
    most, window = _IDS_ON_CARD if _any_card(model) else _IDS, model.window
    # Sixteen positions are left behind them, for the rows of _decode.
    return [(7 * n) % model.vocab_size for n in range(min(most, max(window - 16, window // 2)))]


def _any_card(model: Model) -> bool:
    return any(map(on_card, model.places))


def _prefill(model: Model, cache: Cache, ids: list[int]) -> tuple[Tensor, list[Tensor]]:
    """The hidden states of a prompt read at once into slot 0, and a copy of its KV. What stands
    behind it in the slot is random."""
    for part in cache.kv:
        kv = part[:, 0]
        kv[:, :_DRAWN].normal_(generator=torch.Generator(part.device).manual_seed(0))
        for start in range(_DRAWN, model.window, _DRAWN):
            kv[:, start : start + _DRAWN] = kv[:, : min(_DRAWN, model.window - start)]
    hidden = model.prefill([Chunk(ids, 0, 0)], cache.kv)
    return hidden, [part.clone() for part in _held(cache, 0, ids)]


def _held(cache: Cache, slot: int, ids: Sequence[int]) -> list[Tensor]:
    """The KV of `ids` in `slot`."""
    return [part[:, slot, : len(ids)] for part in cache.kv]


def _decode(model: Model, cache: Cache, order: Sequence[int]) -> Tensor:
    """Logits of 16 rows in slot 0, or those of them in `order`: half of them about the end of the
    prompt, the others all over the window's first _NEAR positions, and one at its end."""
    end, last = len(_trial_ids(model)), model.window - 1
    # No two rows stand in one place, from a window of 31 positions on.
    step = (min(model.window, _NEAR) - end) // 16
    places = [max(end - n, 0) if n % 2 else end + n * step for n in order]
    places = [last if n == 15 else place for n, place in zip(order, places, strict=True)]
    rows = [(n % model.vocab_size, 0, place) for n, place in zip(order, places, strict=True)]
    # The kernels read whole rows: a transposed view would not do.
    ids, slots, positions = send(list(zip(*rows, strict=True)), model.device)
    return model.decode(ids, slots, positions, cache.kv)
