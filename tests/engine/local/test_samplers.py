"""Each sampler against a reference of a few lines, on random logits; all of them off changes
nothing."""

import math
import random

import pytest
import torch

from assistant.engine.local.guide import Guide, Repeats
from assistant.engine.local.sampler import _HEAD, Sampler, _typical
from assistant.engine.protocol import Request
from assistant.sampling import Sampling

pytestmark = pytest.mark.usefixtures("one_thread")

SETS = 200  # of logits for each sampler
SIZE = 2 * _HEAD
REPLY = [3, 3, 7, 3, 300]  # what the reply has already


def logits_of(number):
    """Peaked and flat ones."""
    chance = torch.Generator().manual_seed(number)
    return torch.randn(SIZE, generator=chance) * (0.2, 1.0, 3.0)[number % 3]


def presence(logits, sampling):
    for token in set(REPLY):
        logits[token] -= sampling.presence_penalty
    return logits


def frequency(logits, sampling):
    for token in REPLY:
        logits[token] -= sampling.frequency_penalty
    return logits


def together(logits, sampling):
    """A repetition penalty counts the prompt, too; the others count the reply alone."""
    for token in {7, 8, *REPLY}:
        lower = logits[token] > 0
        factor = sampling.repetition_penalty
        logits[token] = logits[token] / factor if lower else logits[token] * factor
    return presence(frequency(logits, sampling), sampling)


def bias(logits, sampling):
    for token, value in sampling.logit_bias:
        logits[token] += value
    return logits


@pytest.mark.parametrize(
    ("reference", "options"),
    [
        (presence, {"presence_penalty": 1.5}),
        (presence, {"presence_penalty": -2}),
        (frequency, {"frequency_penalty": 0.7}),
        (frequency, {"frequency_penalty": -1}),
        (together, {"repetition_penalty": 1.3, "presence_penalty": 1, "frequency_penalty": 0.5}),
        (bias, {"logit_bias": {3: 4, 300: -100, 511: 2.5}}),
    ],
)
def test_what_shifts_logits_shifts_the_likeliest_token_as_its_formula_does(reference, options):
    sampling = Sampling(temperature=0, **options)
    sampler = Sampler(1, SIZE, torch.device("cpu"))
    slot = torch.tensor([0])
    changed = 0
    for number in range(SETS):
        logits = logits_of(number)
        logits[3] += number % 5  # so that it is often the likeliest
        sampler.start(0, Request((7, 8), sampling, 9))
        for place, token in enumerate(REPLY):
            forced = torch.full((1, SIZE), -1e4)
            forced[0, token] = 1e4
            assert sampler.sample(forced, slot, slot + place).item() == token
        drawn = sampler.sample(logits[None], slot, slot).item()
        expected = reference(logits.clone(), sampling).argmax().item()
        assert drawn == expected
        changed += expected != logits.argmax().item()
    assert changed > SETS / 20


def typical(logits, sampling):
    """arXiv:2202.00666, as its definition has it: which tokens may be drawn."""
    shares = (logits.double() / sampling.temperature).softmax(0)
    expected = -(shares * shares.log()).sum()
    order = (-shares.log() - expected).abs().argsort()
    count = int((shares[order].cumsum(0) < sampling.typical_p).sum()) + 1
    return set(order[:count].tolist())


@pytest.mark.parametrize("typical_p", [0.1, 0.5, 0.9])
def test_typical_p_keeps_the_tokens_that_its_definition_keeps(typical_p):
    sampling = Sampling(temperature=0.9, top_p=1, typical_p=typical_p)
    wanted = torch.tensor([[typical_p]], dtype=torch.double)
    for number in range(SETS):
        values, ids = logits_of(number)[None].sort(-1, descending=True)
        weights = ((values.double() - values[:, :1]) / sampling.temperature).exp()
        total, last = _typical(weights, torch.tensor([[SIZE - 1]]), wanted)
        kept = ids[total.diff(dim=-1, prepend=torch.zeros(1, 1)) > 0].tolist()
        assert set(kept) == typical(logits_of(number), sampling)
        assert last.item() == max(ids[0].tolist().index(token) for token in kept)


def test_a_typical_rows_tokens_come_in_their_own_proportion():
    count = 20_000
    logits = torch.tensor([3.0, 2.0, 1.5, 1.0, 0.0, -1.0])
    sampling = {"temperature": 1.0, "top_p": 1, "typical_p": 0.6}
    sampler = Sampler(count, 6, torch.device("cpu"))
    for slot in range(count):
        sampler.start(slot, Request((1,), Sampling(**sampling, seed=slot), 9))
    drawn = sampler.sample(logits.expand(count, -1), torch.arange(count), torch.zeros(count).long())
    kept = sorted(typical(logits, Sampling(**sampling)))
    shares = torch.bincount(drawn, minlength=6) / count
    torch.testing.assert_close(shares[kept], logits[kept].softmax(0), atol=0.015, rtol=0)


def test_a_row_without_typical_p_draws_the_same_beside_one_that_has_it():
    sampler = Sampler(2, SIZE, torch.device("cpu"))
    sampler.start(1, Request((1,), Sampling(temperature=1, typical_p=0.3), 9))
    for number in range(50):
        sampler.start(0, Request((1,), Sampling(temperature=1.0, seed=number), 9))
        logits, at = logits_of(number).expand(2, -1), torch.tensor([0, 1])
        alone = sampler.sample(logits[:1], at[:1], at[:1], typical=False)
        assert sampler.sample(logits, at, at)[0] == alone[0]


def dry(ids, sampling, breakers, next_token):
    """What its author's description takes off a token's logit."""
    longest = 0
    for end in range(1, len(ids)):  # what stands before ids[end] is compared with the text's end
        if ids[end] != next_token or next_token in breakers:
            continue
        same = 0
        while same < min(end, 50) and ids[end - 1 - same] == ids[-1 - same]:
            if ids[-1 - same] in breakers:
                break
            same += 1
        longest = max(longest, same)
    over = longest - sampling.dry_allowed_length
    return sampling.dry_multiplier * sampling.dry_base**over if over >= 0 else 0.0


@pytest.mark.parametrize("length", [1, 2, 4])
def test_dry_takes_what_its_description_takes(length):
    sampling = Sampling(dry_multiplier=0.8, dry_base=1.75, dry_allowed_length=length)
    breakers, some = frozenset({5, 6}), 0
    for number in range(SETS):
        chance = random.Random(number)
        few = chance.choice((2, 3, 7))  # different tokens, so that there are repeats
        ids = [chance.randrange(few) for _ in range(chance.randrange(1, 120))]
        repeats = Repeats(sampling, breakers)
        cut = chance.randrange(len(ids) + 1)
        repeats.feed(ids[:cut])
        repeats.feed(ids[cut:])
        row = torch.zeros(8)
        Guide(repeats, None).write(row, [])
        expected = [-dry(ids, sampling, breakers, token) for token in range(8)]
        assert row.tolist() == pytest.approx(expected, rel=1e-5)
        some += any(expected)
    assert some > SETS / 3


def test_a_repeat_longer_than_is_looked_at_stays_finite():
    repeats = Repeats(Sampling(dry_multiplier=10, dry_base=4), frozenset())
    repeats.feed([1, 2] * 3000)
    ids, lost = repeats.penalties()
    assert ids.tolist() == [1] and math.isfinite(lost.item()) and lost.item() > 1e20


def test_stop_ids_are_not_drawn_before_the_least_number_of_tokens():
    request = Request((1,), Sampling(temperature=0), 9, frozenset({2}), min_new_tokens=2)
    sampler = Sampler(1, 4, torch.device("cpu"))
    sampler.start(0, request)
    logits, slot = torch.tensor([[0.0, 1.0, 9.0, 0.5]]), torch.tensor([0])
    assert sampler.sample(logits, slot, slot).item() == 1
    sampler.bias_for(0, request)
    assert sampler.sample(logits, slot, slot).item() == 2
