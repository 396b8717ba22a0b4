"""Which slot a request gets, and how much of its prompt that slot already holds."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.local.cache import Cache
from assistant.engine.prefix import common_prefix

WINDOW = 64
MODEL = SimpleNamespace(
    window=WINDOW,
    device=torch.device("cpu"),
    new_kv=lambda slots, length: [torch.empty(layers, slots, length, 1) for layers in (1, 2)],
)


def compute(cache, slot, ids, start, *, cold=True):
    """Stands for a forward pass: a position's KV is made of all the ids up to it."""
    for position in range(start, len(ids)):
        for part in cache.kv:
            part[:, slot, position] = hash(tuple(ids[: position + 1])) % 2**20
    cache.extend(slot, list(ids[start:]), cold=cold)


def check(cache, slot, length, ids):
    expected = [hash(tuple(ids[: n + 1])) % 2**20 for n in range(length)]
    assert all(part[-1, slot, :length, 0].tolist() == expected for part in cache.kv)
    assert cache.ids[slot] == list(ids[:length])


def run(cache, ids):
    """A request from admission to its end; how many tokens were there already."""
    slot, length = cache.acquire(ids)
    check(cache, slot, length, ids)
    compute(cache, slot, ids, length)
    cache.release(slot)
    return slot, length


def test_the_next_turn_continues_in_its_own_slot():
    cache = Cache(MODEL, 3)
    first = list(range(20))
    slot, length = run(cache, first)
    assert length == 0
    assert run(cache, [*first, 50, 51]) == (slot, 20)
    assert run(cache, [*first, 50, 52, 53]) == (slot, 21)  # one token was left over


def test_the_last_token_is_always_computed():
    cache = Cache(MODEL, 1)
    run(cache, [1, 2, 3])
    assert run(cache, [1, 2, 3])[1] == 2


def test_what_is_computed_anew_takes_nothing_over_and_can_be_used_again():
    cache = Cache(MODEL, 2)
    ids = list(range(20))
    first, _ = run(cache, ids)
    slot, length = cache.acquire(ids, anew=True)
    assert slot != first and length == 0 and cache.ids[slot] == []
    compute(cache, slot, ids, 0)
    cache.release(slot)
    assert cache.cold[slot] == 20
    assert run(cache, [*ids, 50])[1] == 20


def test_branches_share_their_trunk_and_both_stay():
    cache = Cache(MODEL, 2)
    trunk = list(range(20))
    left, right = trunk + [30] * 20, trunk + [40] * 20
    run(cache, left)
    assert run(cache, right)[1] == 20
    assert run(cache, [*left, 1])[1] == 40
    assert run(cache, [*right, 1])[1] == 40


def test_a_running_slot_lends_its_prefix():
    cache = Cache(MODEL, 2)
    ids = list(range(20))
    slot, length = cache.acquire(ids)
    compute(cache, slot, ids, length)
    other, length = cache.acquire([*ids, 1])
    assert (other != slot, length) == (True, 20)
    check(cache, other, 20, ids)


def test_a_pinned_prefix_outlives_every_slot():
    cache = Cache(MODEL, 1)
    preamble = list(range(10))
    slot, _ = cache.acquire(preamble)
    compute(cache, slot, preamble, 0)
    cache.pin(slot)
    cache.release(slot)
    run(cache, [60] * 30)
    assert run(cache, [*preamble, 5])[1] == 10


def test_the_least_recently_used_slot_goes_first():
    cache = Cache(MODEL, 2)
    run(cache, [1] * 30)
    run(cache, [2] * 30)
    run(cache, [3] * 30)
    assert run(cache, [*[2] * 30, 9])[1] == 30
    assert run(cache, [*[1] * 30, 9])[1] == 0


def test_what_prefill_computed_is_told_from_what_decode_did():
    cache = Cache(MODEL, 2)
    slot, _ = cache.acquire([1, 2, 3])
    compute(cache, slot, [1, 2, 3], 0)
    compute(cache, slot, [1, 2, 3, 4, 5], 3, cold=False)
    compute(cache, slot, [1, 2, 3, 4, 5, 6], 5)
    assert cache.cold[slot] == 3
    cache.pin(slot)
    cache.release(slot)
    for ids, cached, cold in [([1, 2, 9], 2, 2), ([1, 2, 3, 4, 9], 4, 3), ([7], 0, 0)]:
        slot, length = cache.acquire(ids)
        assert (length, cache.cold[slot]) == (cached, cold)
        cache.release(slot)
    cache.forget(slot)
    assert (cache.ids[slot], cache.cold[slot]) == ([], 0)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=30), max_size=30), st.data())
def test_what_a_slot_claims_to_hold_is_what_it_holds(prompts, data):
    cache = Cache(MODEL, 3)
    running = {}
    for ids in prompts:
        if len(running) == 3 or (running and data.draw(st.booleans())):
            slot = data.draw(st.sampled_from(sorted(running)))
            if data.draw(st.integers(0, 9)) == 0:
                cache.pin(slot)
            cache.release(running.pop(slot))
        slot, length = cache.acquire(ids)
        assert slot not in running
        check(cache, slot, length, ids)
        compute(cache, slot, ids, length)
        running[slot] = slot


@pytest.mark.parametrize(
    ("a", "b", "limit", "length"),
    [([], [], 9, 0), ([1], [1], 9, 1), ([1, 2], [1, 3], 9, 1), ([1, 2], [1, 2, 3], 1, 1)],
)
def test_common_prefix(a, b, limit, length):
    assert common_prefix(a, tuple(b), limit) == length
