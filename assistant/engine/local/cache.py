"""The KV cache: one slot for each running request, and the prefixes that can be used again.

A slot holds a whole window (StarCoder: 168 MB in bfloat16, one K/V head), so nothing is paged: a
prefix is found by comparing ids and shared by copying it. Knows ids and tensors; no requests.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch

from assistant.engine.device import on_card
from assistant.engine.model.model import Model
from assistant.engine.prefix import common_prefix

# A free slot is taken over in place when at most this many of its tokens are lost by it: the
# stop sequence and the like at the end of a reply. Otherwise its content stays and is copied.
LEFTOVER = 16


class Cache:
    """`kv` is the model's static cache; `ids[slot]` says what the slot holds from position 0 on,
    `cold[slot]` how much of that prefill computed: decode's products may differ in the last bits.
    On a card `kv` has one slot more, the `spare` one, which no request gets: what fills a captured
    step up writes there.
    """

    def __init__(self, model: Model, slots: int) -> None:
        self.spare = slots if on_card(model.device) else None
        shape = model.kv_shape(slots + (self.spare is not None), model.window)
        self.kv = torch.empty(shape, dtype=model.dtype, device=model.device)
        if self.spare is not None:
            self.kv[:, self.spare].zero_()
        self.ids: list[list[int]] = [[] for _ in range(slots)]
        self.cold = [0] * slots
        self.free = OrderedDict.fromkeys(range(slots))  # least recently used first
        # (ids, KV [layers, length, 2 x head_dim], cold) for ever
        self.pinned: list[tuple[tuple[int, ...], torch.Tensor, int]] = []

    def take(self, ids: Sequence[int], *, anew: bool = False) -> tuple[int, int]:
        """A free slot that holds the longest known prefix of `ids`, and that prefix's length: none
        if all is to be computed anew.

        At most len(ids) - 1, since the last token must be computed for its logits. The source may
        be any slot, running ones too, or a pinned prefix. There must be a free slot.
        """
        limit = 0 if anew else len(ids) - 1
        pins = [(common_prefix(pin, ids, limit), kv, cold) for pin, kv, cold in self.pinned]
        held = [common_prefix(slot, ids, limit) for slot in self.ids]
        length, kv, cold = max(pins, key=lambda pin: pin[0], default=(0, self.kv[:, 0], 0))
        source = max(self.free, key=lambda slot: held[slot])
        if held[source] > length and len(self.ids[source]) - held[source] <= LEFTOVER:
            slot, length, cold = source, held[source], self.cold[source]
        else:
            slot = next(iter(self.free))
            best = max(range(len(held)), key=lambda other: held[other])
            if held[best] > length:
                length, kv, cold = held[best], self.kv[:, best, : held[best]], self.cold[best]
            if length and held[slot] < length:
                self.kv[:, slot, :length] = kv[:, :length]
            elif length:
                cold = self.cold[slot]
        del self.free[slot]
        self.ids[slot] = list(ids[:length])
        self.cold[slot] = min(cold, length)
        return slot, length

    def computed(self, slot: int, ids: Sequence[int], *, cold: bool = False) -> None:
        """The KV of `ids` now stands behind what `slot` held. cold: prefill computed it."""
        if cold and self.cold[slot] == len(self.ids[slot]):
            self.cold[slot] += len(ids)
        self.ids[slot] += ids

    def forget(self, slot: int) -> None:
        """What `slot` holds must not be used again."""
        self.ids[slot], self.cold[slot] = [], 0

    def release(self, slot: int) -> None:
        """Give a slot back; what it holds can be used again until the slot is needed."""
        self.free[slot] = None

    def pin(self, slot: int) -> None:
        """Keep a copy of all that `slot` holds for ever."""
        ids = self.ids[slot]
        kv = self.kv[:, slot, : len(ids)].clone()
        self.pinned.append((tuple(ids), kv, self.cold[slot]))
