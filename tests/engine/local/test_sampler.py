"""Drawing tokens: greedy, bounded, penalised, repeatable, and with the right distribution."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.local.sampler import _HEAD, Sampler, alternatives, uniform
from assistant.engine.protocol import Request
from assistant.sampling import Sampling

LOGITS = torch.tensor([1.0, 3.0, 2.0, -1.0, 2.5])


def make(*requests, size=5):
    """A Sampler with a request in each of its slots."""
    sampler = Sampler(len(requests), size, torch.device("cpu"))
    for slot, request in enumerate(requests):
        sampler.start(slot, request)
    return sampler


def request(*, ids=(0,), banned_ids=(), penalty_from=0, **sampling):
    sampling = Sampling(**{"top_p": 1.0, "seed": 7, **sampling})
    return Request(ids, sampling, 9, banned_ids=frozenset(banned_ids), penalty_from=penalty_from)


def draw(*requests, logits=LOGITS, positions=None):
    """One token for each request, all in one step."""
    count = len(requests)
    positions = torch.full((count,), 1) if positions is None else torch.tensor(positions)
    sampler = make(*requests, size=logits.shape[-1])
    return sampler.sample(logits.expand(count, -1), torch.arange(count), positions).tolist()


def draws(count, logits=LOGITS, **options):
    """`count` first draws, each of a request of its own seed."""
    return draw(*(request(**{**options, "seed": seed}) for seed in range(count)), logits=logits)


def test_greedy_is_the_argmax():
    assert draw(request(temperature=0)) == [1]


@pytest.mark.parametrize(
    ("options", "possible"),
    [
        ({"top_k": 1}, {1}),
        ({"top_k": 3}, {1, 4, 2}),
        ({"top_p": 1e-9}, {1}),
        ({"top_p": 0.7}, {1, 4}),  # 0.474 + 0.287 pass 0.7, the first alone does not
        ({"top_k": 2, "top_p": 0.7}, {1, 4}),  # of the two that are left the first has 0.62
        ({"top_k": 2, "top_p": 0.6}, {1}),
        ({"min_p": 0.5}, {1, 4}),  # exp(-0.5) = 0.61, exp(-1) = 0.37
        ({"min_p": 1.0}, {1}),
        ({"min_p": 0.5, "temperature": 2.0}, {1, 4, 2}),
        ({"banned_ids": {1, 4}}, {0, 2, 3}),
        ({"banned_ids": {1}, "temperature": 0}, {4}),
        ({"temperature": 0.01}, {1}),
        ({}, {0, 1, 2, 3, 4}),
    ],
)
def test_which_tokens_are_possible(options, possible):
    assert set(draws(400, **{"temperature": 1.0, **options})) == possible


def test_the_distribution_is_the_softmax():
    count = 20_000
    drawn = torch.bincount(torch.tensor(draws(count, temperature=0.8)), minlength=5) / count
    torch.testing.assert_close(drawn, (LOGITS / 0.8).softmax(0), atol=0.015, rtol=0)


@pytest.mark.parametrize(
    "options",
    [{}, {"top_p": 0.9}, {"top_k": 600}, {"top_k": 600, "top_p": 0.7}, {"min_p": 1e-3}],
)
def test_a_flat_distribution_is_drawn_from_beyond_the_candidates_sorted_first(options):
    logits = torch.randn(4 * _HEAD, generator=torch.Generator().manual_seed(0)) / 10
    count = 20_000
    drawn = torch.bincount(
        torch.tensor(draws(count, logits, temperature=1.0, **options)), minlength=4 * _HEAD
    )
    order = logits.softmax(0).sort(descending=True)
    top_k, top_p = options.get("top_k", 4 * _HEAD), options.get("top_p", 1.0)
    weights = order.values[:top_k] / order.values[:top_k].sum()
    kept = int((weights.cumsum(0) - weights < top_p).sum())
    inside = drawn[order.indices[:kept]]
    assert inside.sum() == count and kept > _HEAD
    share = inside[: kept // 2].sum() / count
    assert share == pytest.approx(
        float(weights[: kept // 2].sum() / weights[:kept].sum()), abs=0.02
    )


def test_rows_of_all_kinds_together_are_what_they_are_alone():
    kinds = [
        request(temperature=0),
        request(temperature=1.5, seed=3),
        request(temperature=1.0, top_k=2),
        request(temperature=0, repetition_penalty=2.0, ids=(1,)),
        request(temperature=0.7, banned_ids={1}, top_p=0.8),
    ]
    assert draw(*kinds) == [draw(kind)[0] for kind in kinds]


def test_a_row_is_drawn_alike_alone_and_beside_flat_ones():
    """Among equally likely tokens too, as there are many in bfloat16."""
    chance = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(60, 8 * _HEAD, generator=chance)).bfloat16().float()
    logits[::3] /= 20  # these need more than the candidates looked at first
    rows, positions = torch.arange(60), torch.full((60,), 5)
    sampler = make(
        *(request(temperature=1.0, top_p=0.9, seed=n) for n in range(60)), size=8 * _HEAD
    )
    together = sampler.sample(logits, rows, positions)
    alone = [sampler.sample(logits[n : n + 1], rows[n : n + 1], positions[:1]) for n in range(60)]
    assert together.tolist() == torch.cat(alone).tolist()


def test_the_penalty_counts_from_its_position_on_and_the_reply():
    options = {"temperature": 0, "repetition_penalty": 2.0}
    assert draw(request(ids=(1, 4), **options)) == [2]
    assert draw(request(ids=(1, 4), penalty_from=1, **options)) == [1]
    assert draw(request(ids=(1, 4), penalty_from=2, **options)) == [1]
    one = make(request(**options))
    slot = torch.tensor([0])
    assert [one.sample(LOGITS[None], slot, slot).item() for _ in range(3)] == [1, 4, 2]


def test_a_slot_keeps_nothing_of_the_request_before():
    sampler = make(request(temperature=0, repetition_penalty=2.0, ids=(1,), banned_ids={4}))
    sampler.start(0, request(temperature=0))
    assert sampler.sample(LOGITS[None], torch.tensor([0]), torch.tensor([1])).item() == 1
    assert not sampler.seen[0, 4] and not sampler.bias.any()


def test_a_seed_repeats_and_another_differs():
    def reply(seed):
        sampler = make(request(seed=seed, temperature=2.0))
        slot = torch.tensor([0])
        return [sampler.sample(LOGITS[None], slot, slot + n).item() for n in range(30)]

    assert reply(5) == reply(5) != reply(6)
    assert reply(None) != reply(None)


@given(st.integers(0, 2**53 - 1), st.integers(0, 8192))
def test_uniform_is_the_published_generator(seed, position):
    """splitmix64 of the seed, then of what it gave as the state of a stream."""
    mask = 2**64 - 1

    def mix(z):
        z = (z + 0x9E3779B97F4A7C15) & mask
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    expected = (mix((mix(seed) + position * 0x9E3779B97F4A7C15) & mask) >> 11) / 2**53
    assert uniform(torch.tensor([seed]), torch.tensor([position])).item() == expected


def test_uniform_is_spread_evenly_over_seeds_and_positions():
    numbers = uniform(torch.arange(300)[:, None], torch.arange(300))
    counts = torch.histc(numbers.float().flatten(), 100, 0, 1)
    assert 700 < counts.min() <= counts.max() < 1100  # 900 each, a standard deviation of 30
    assert (
        abs(
            torch.corrcoef(torch.stack([numbers[:, 1:].flatten(), numbers[:, :-1].flatten()]))[0, 1]
        )
        < 0.02
    )


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_logits_that_are_no_numbers_are_told(value, temperature):
    bad = torch.tensor([0.0, value, 1.0, 2.0, 0.0])
    sampler = make(request(temperature=temperature), request(temperature=0))
    rows = torch.tensor([0, 1])
    assert sampler.sample(torch.stack([bad, LOGITS]), rows, rows).tolist() == [-1, 1]


def test_the_logits_of_the_caller_stay_as_they_are():
    logits = LOGITS.clone()
    draw(request(banned_ids={1}, repetition_penalty=2.0), logits=logits)
    assert torch.equal(logits, LOGITS)


def test_alternatives_are_the_likeliest_with_their_log_probabilities():
    own, values, ids = alternatives(LOGITS[None], torch.tensor([2]), 3)
    expected = LOGITS.log_softmax(0)
    torch.testing.assert_close(own, expected[[2]])
    assert ids.tolist() == [[1, 4, 2]]
    torch.testing.assert_close(values[0], expected[[1, 4, 2]])
