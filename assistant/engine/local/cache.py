"""The KV cache: one slot for each running request, and the prefixes that can be used again.

A slot holds a whole window (StarCoder: 168 MB in bfloat16, one K/V head), so nothing is paged: a
prefix is found by comparing ids and shared by copying it. Knows ids and tensors; no requests.
"""

from collections import OrderedDict
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from torch import Tensor

from assistant.engine.device import on_card
from assistant.engine.model.model import Model
from assistant.engine.prefix import common_prefix

# A free slot is taken over in place when at most this many of its tokens are lost by it: the
# stop sequence and the like at the end of a reply. Otherwise its content stays and is copied.
LEFTOVER = 16


class Prefix(NamedTuple):
    """The beginning of a prompt whose keys and values are known. cold: how many of its tokens
    prefill computed. kv: of each part of the model [layers, at least length, 2 x kv_heads,
    head_dim]. slot: -1 for a pinned one."""

    length: int
    cold: int
    kv: list[Tensor]
    slot: int = -1


_length = attrgetter("length")


class Cache:
    """`kv` is the model's static cache, a tensor for each of its parts; `ids[slot]` says what the
    slot holds from position 0 on, `cold[slot]` how much of that prefill computed: decode's products
    may differ in the last bits. On a single card `kv` has one slot more, the `spare` one, which no
    request gets: what fills a captured step up writes there.
    """

    def __init__(self, model: Model, slots: int) -> None:
        self.spare = slots if on_card(model.device) and len(model.places) == 1 else None
        self.kv = model.new_kv(slots + (self.spare is not None), model.window)
        if self.spare is not None:
            for part in self.of(self.spare):
                part.zero_()
        self.ids: list[list[int]] = [[] for _ in range(slots)]
        self.cold = [0] * slots
        self.free = OrderedDict.fromkeys(range(slots))  # least recently used first
        self.pinned: list[tuple[tuple[int, ...], list[Tensor], int]] = []  # ids, KV, cold; for ever

    def of(self, slot: int) -> list[Tensor]:
        """What `slot` has of each part of the model, [layers, window, 2 x kv_heads, head_dim]."""
        return [part[:, slot] for part in self.kv]

    def acquire(self, ids: Sequence[int], *, anew: bool = False) -> tuple[int, int]:
        """A free slot that holds the longest known prefix of `ids`, and that prefix's length: none
        if all is to be computed anew.

        At most len(ids) - 1, since the last token must be computed for its logits. The source may
        be any slot, running ones too, or a pinned prefix. There must be a free slot.
        """
        pins, slots = self._find(ids, 0 if anew else len(ids) - 1)
        prefix = self._continue(pins, slots) or self._copy(pins, slots)
        del self.free[prefix.slot]
        self.ids[prefix.slot] = list(ids[: prefix.length])
        self.cold[prefix.slot] = min(prefix.cold, prefix.length)
        return prefix.slot, prefix.length

    def _find(self, ids: Sequence[int], limit: int) -> tuple[list[Prefix], list[Prefix]]:
        """What is known of `ids`, up to `limit`: pinned, and in each slot."""
        pins = [Prefix(common_prefix(pin, ids, limit), cold, kv) for pin, kv, cold in self.pinned]
        slots = [
            Prefix(common_prefix(held, ids, limit), self.cold[slot], self.of(slot), slot)
            for slot, held in enumerate(self.ids)
        ]
        return pins, slots

    def _continue(self, pins: list[Prefix], slots: list[Prefix]) -> Prefix | None:
        """The free slot that holds the most, where that is worth more than it loses."""
        best = max((slots[slot] for slot in self.free), key=_length)
        lost = len(self.ids[best.slot]) - best.length
        pinned = max(map(_length, pins), default=0)
        return best if best.length > pinned and lost <= LEFTOVER else None

    def _copy(self, pins: list[Prefix], slots: list[Prefix]) -> Prefix:
        """The slot that was not used for longest, which gets a copy of the longest prefix."""
        own = slots[next(iter(self.free))]
        longest = max([own, *pins, *slots], key=_length)
        if longest is not own:
            for there, here in zip(own.kv, longest.kv, strict=True):
                there[:, : longest.length] = here[:, : longest.length]
        return longest._replace(slot=own.slot)

    def extend(self, slot: int, ids: Sequence[int], *, cold: bool = False) -> None:
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
        kv = [part[:, : len(ids)].clone() for part in self.of(slot)]
        self.pinned.append((tuple(ids), kv, self.cold[slot]))
