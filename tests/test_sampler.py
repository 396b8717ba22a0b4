"""Drawing a token: greedy, bounded, penalised, repeatable, and with the right distribution."""

import pytest
import torch

from assistant.engine import Request
from assistant.engine.sampler import Sampler
from assistant.errors import EngineError
from assistant.sampling import Sampling

LOGITS = torch.tensor([1.0, 3.0, 2.0, -1.0, 2.5])


def sampler(*, ids=(0,), banned_ids=(), penalty_from=0, **sampling):
    sampling = Sampling(**{"top_p": 1.0, "seed": 7, **sampling})
    return Sampler(
        Request(ids, sampling, 9, banned_ids=frozenset(banned_ids), penalty_from=penalty_from)
    )


def draws(count, logits=LOGITS, **options):
    """`count` first draws, each of a request of its own seed."""
    return [sampler(**{**options, "seed": seed}).draw(logits) for seed in range(count)]


def test_greedy_is_the_argmax():
    assert sampler(temperature=0).draw(LOGITS) == 1


@pytest.mark.parametrize(
    ("options", "possible"),
    [
        ({"top_k": 1}, {1}),
        ({"top_k": 3}, {1, 4, 2}),
        ({"top_p": 1e-9}, {1}),
        ({"top_p": 0.7}, {1, 4}),  # 0.474 + 0.287 pass 0.7, the first alone does not
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


def test_the_penalty_counts_from_its_position_on_and_the_reply():
    options = {"temperature": 0, "repetition_penalty": 2.0}
    assert sampler(ids=(1, 4), **options).draw(LOGITS) == 2
    assert sampler(ids=(1, 4), penalty_from=1, **options).draw(LOGITS) == 1
    assert sampler(ids=(1, 4), penalty_from=2, **options).draw(LOGITS) == 1
    one = sampler(ids=(0,), **options)
    assert [one.draw(LOGITS) for _ in range(3)] == [1, 4, 2]


def test_a_seed_repeats_and_another_differs():
    def reply(seed):
        one = sampler(seed=seed, temperature=2.0)
        return [one.draw(LOGITS) for _ in range(30)]

    assert reply(5) == reply(5) != reply(6)
    assert reply(None) != reply(None)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_end_the_reply(value):
    one = sampler(temperature=0)
    with pytest.raises(EngineError, match="not a number"):
        one.draw(torch.tensor([0.0, value]))
    assert one.draw(LOGITS) == 1


def test_the_logits_of_the_caller_stay_as_they_are():
    logits = LOGITS.clone()
    sampler(banned_ids={1}, repetition_penalty=2.0).draw(logits)
    assert torch.equal(logits, LOGITS)
