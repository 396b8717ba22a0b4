"""How the next tokens are drawn from the logits: all rows of a step at once, on their device.

The parameters of each running request stand in the row of its slot. A draw needs one number, which
is a function of the request's seed and the token's position alone, so that a seed gives the same
text in whatever company and order it is computed. Knows logits, slots and positions; no requests'
text.
"""

import secrets
from collections.abc import Collection

import torch
from torch import Tensor

from assistant.engine.device import on_card, send
from assistant.engine.protocol import Request
from assistant.sampling import SEED_DRAWN

_HEAD = 256  # candidates that are looked at first on a CPU; all others only if these do not do
_IN_PROMPT = 2**30  # in `seen`: far beyond any reply's length

# splitmix64 (Steele, Lea and Flood 2014, doi 10.1145/2660193.2660195), as signed 64-bit integers
_STEP = 0x9E3779B97F4A7C15 - 2**64
_MIX = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))


class Sampler:
    """Sampling state for `slots` requests over a vocabulary of `size` tokens, on `device`. A slot
    that no request was given draws greedily."""

    def __init__(self, slots: int, size: int, device: torch.device) -> None:
        self._device = device
        self._numbers = torch.zeros(slots, 7, dtype=torch.double, device=device)
        self._integers = torch.zeros(slots, 2, dtype=torch.long, device=device)
        self.temperature, self.top_p, self.min_p, self.typical_p, *penalties = self._numbers.unbind(
            1
        )
        self.penalty, self.presence, self.frequency = penalties
        self.top_k, self.seed = self._integers.unbind(1)
        self.penalty.fill_(1)
        self.typical_p.fill_(1)
        # What is added to the logits: -inf bans a token.
        self.bias = torch.zeros(slots, size, device=device)
        # How often the reply has each token; with _IN_PROMPT, the prompt has it too.
        self.seen = torch.zeros(slots, size, dtype=torch.int32, device=device)

    def start(self, slot: int, request: Request) -> None:
        """Write the parameters of `request` into the row of its slot. A card is
        not waited for."""
        sampling = request.sampling
        numbers = (
            sampling.temperature,
            sampling.top_p,
            sampling.min_p,
            sampling.typical_p,
            sampling.repetition_penalty,
            sampling.presence_penalty,
            sampling.frequency_penalty,
        )
        self._numbers[slot] = send(numbers, self._device, torch.double)
        seed = sampling.seed if sampling.seed is not None else secrets.randbelow(SEED_DRAWN)
        self._integers[slot] = send((sampling.top_k, seed), self._device)
        self.bias_for(slot, request, ending=not request.min_new_tokens)
        penalised = sampling.repetition_penalty != 1
        self.seen[slot].zero_()
        self._fill(self.seen[slot], request.ids[request.penalty_from :] * penalised, _IN_PROMPT)

    def bias_for(self, slot: int, request: Request, *, ending: bool = True) -> None:
        """Write what is added to a slot's logits: the request's own, and its bans. ending: whether
        its stop ids may be drawn."""
        row = self.bias[slot].zero_()
        if request.sampling.logit_bias:
            ids, values = zip(*request.sampling.logit_bias, strict=True)
            at = send(ids, self._device)
            row.index_copy_(0, at, send(values, self._device, torch.float))
        self._fill(row, request.banned_ids, -torch.inf)
        if not ending:
            self._fill(row, request.stop_ids, -torch.inf)

    def _fill(self, row: Tensor, ids: Collection[int], value: float) -> None:
        if ids:
            row.index_fill_(0, send(list(ids), self._device), value)

    def sample(
        self,
        logits: Tensor,
        slots: Tensor,
        positions: Tensor,
        *,
        greedy: bool = False,
        penalised: bool = True,
        typical: bool = True,
    ) -> Tensor:
        """The next token of each row, int64 [rows]; -1 where the logits are not finite.

        logits: float32 [rows, vocabulary]. slots, positions: int64 [rows], the position is that of
        the token to be drawn. greedy: every row's temperature is 0; penalised: some row has a
        penalty; typical: some row has a typical_p; they only save work. A slot with a penalty may
        have one row only.
        """
        if penalised:
            logits = self._penalise(logits, slots)
        logits = logits + self.bias[slots]
        best, ids = logits.max(-1)
        if not greedy:
            ids = torch.where(
                self.temperature[slots] > 0, self._draw(logits, slots, positions, typical), ids
            )
        ids = torch.where(best.isfinite(), ids, -1)  # a NaN anywhere is the maximum
        if penalised:
            at = slots, ids.clamp(min=0)
            self.seen[at] = self.seen[at] + 1
        return ids

    def _penalise(self, logits: Tensor, slots: Tensor) -> Tensor:
        """Divide positive and multiply negative logits of seen tokens (CTRL, arXiv:1909.05858), and
        take the presence and frequency penalties off those that the reply has (OpenAI's API)."""
        penalty, presence, frequency = (
            column[slots, None].float() for column in (self.penalty, self.presence, self.frequency)
        )
        seen = self.seen[slots]
        lower = torch.where(logits > 0, logits / penalty, logits * penalty)
        logits = torch.where(seen > 0, lower, logits)
        times = seen & (_IN_PROMPT - 1)
        return logits - frequency * times - presence * (times > 0)

    def _draw(self, logits: Tensor, slots: Tensor, positions: Tensor, typical: bool) -> Tensor:
        """Inverse transform sampling over the candidates that top_k, top_p, min_p and typical_p
        leave."""
        size = logits.shape[-1]
        if on_card(logits.device) or size <= _HEAD:
            return self._draw_from(logits, slots, positions, size, typical)[0]
        ids, enough = self._draw_from(logits, slots, positions, _HEAD, typical)
        # Each row by itself: equally likely tokens stand in another order in the whole vocabulary.
        rest = (~enough).nonzero()[:, 0]
        if len(rest):
            ids[rest] = self._draw_from(logits[rest], slots[rest], positions[rest], size, typical)[
                0
            ]
        return ids

    def _draw_from(
        self, logits: Tensor, slots: Tensor, positions: Tensor, width: int, typical: bool
    ) -> tuple[Tensor, Tensor]:
        """A token of each row among the `width` likeliest, and whether all candidates are there."""
        temperature = self.temperature[slots]
        heat = torch.where(temperature > 0, temperature, 1.0)[:, None]
        top_k, top_p, min_p = (
            column[slots, None] for column in (self.top_k, self.top_p, self.min_p)
        )
        size = logits.shape[-1]
        values, ids = logits.topk(width) if width < size else logits.sort(-1, descending=True)
        weights = ((values.double() - values[:, :1]) / heat).exp()
        rank = torch.arange(width, device=logits.device)
        weights = torch.where((top_k == 0) | (rank < top_k), weights, 0.0)
        total = weights.cumsum(-1)
        mass = total[:, -1:]
        if width < size:
            whole = ((logits.double() - values[:, :1]) / heat).exp().sum(-1, keepdim=True)
            mass = torch.where(top_k == 0, whole, mass)
        # The nucleus (arXiv:1904.09751) is the smallest set that reaches top_p; min_p keeps what is
        # at least so likely in relation to the likeliest (arXiv:2407.01082).
        likely = (weights >= min_p) & (weights > 0)
        kept = likely & (total - weights < top_p * mass)
        enough = torch.where(top_k == 0, ~kept[:, -1:], top_k <= width)
        last = (kept.sum(-1, keepdim=True) - 1).clamp(min=0)
        if typical:
            total, last = _typical(weights, last, self.typical_p[slots, None])
        point = uniform(self.seed[slots], positions)[:, None] * total.gather(-1, last)
        index = torch.searchsorted(total, point, right=True)
        return ids.gather(-1, torch.minimum(index, last))[:, 0], enough[:, 0]


def _typical(weights: Tensor, last: Tensor, typical_p: Tensor) -> tuple[Tensor, Tensor]:
    """Locally typical sampling (arXiv:2202.00666) over the candidates up to `last` [rows, 1]: of
    those, the tokens whose surprise is nearest to the expected one, as few as have the mass
    `typical_p` [rows, 1].

    weights: of all candidates, largest first. Returns their running sum without what is left out,
    and the last one that is kept.
    """
    inside = torch.arange(weights.shape[-1], device=weights.device) <= last
    share = torch.where(inside, weights, 0.0)
    share = share / share.sum(-1, keepdim=True)
    surprise = torch.where(share > 0, -share.log(), torch.inf)
    expected = torch.where(share > 0, share * surprise, 0.0).sum(-1, keepdim=True)
    off = (surprise - expected).abs()
    # Surprise grows along a row, so all that is as near as one token is lies between two places.
    total = torch.nn.functional.pad(share.cumsum(-1), (1, 0))
    del share  # a card's memory is short here
    reach = off + 1e-9  # the token itself too, however it was rounded
    mass = total.gather(-1, torch.searchsorted(surprise, expected + reach, right=True))
    mass -= total.gather(-1, torch.searchsorted(surprise, expected - reach))
    del total
    enough = torch.where(mass >= typical_p, off, torch.inf).amin(-1, keepdim=True)
    kept = inside & (weights > 0) & ((off <= enough) | (typical_p == 1))
    total = torch.where(kept, weights, 0.0).cumsum(-1)
    rank = torch.arange(weights.shape[-1], device=weights.device)
    return total, torch.where(kept, rank, 0).amax(-1, keepdim=True)


def uniform(seeds: Tensor, positions: Tensor) -> Tensor:
    """One number in [0, 1) for each (seed, position), float64; both int64, any shape."""
    bits = _mix(_mix(seeds) + positions * _STEP)
    return _shift(bits, 11).double() * 2.0**-53


def _mix(bits: Tensor) -> Tensor:
    bits = bits + _STEP
    for shift, factor in _MIX:
        bits = (bits ^ _shift(bits, shift)) * factor
    return bits ^ _shift(bits, 31)


def _shift(bits: Tensor, count: int) -> Tensor:
    """Logical right shift: torch's own one carries the sign."""
    return (bits >> count) & ((1 << (64 - count)) - 1)


def alternatives(logits: Tensor, ids: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The log-probabilities of drawn tokens and of the `count` likeliest, by the model itself:
    before temperature, penalty and bans. logits: [rows, vocabulary]. ids: [rows].

    Returns ([rows], values [rows, count], ids [rows, count]), likeliest first.
    """
    scores = logits.log_softmax(-1)
    drawn = scores.gather(-1, ids.clamp(min=0)[:, None])[:, 0]
    values, likeliest = scores.topk(count)
    return drawn, values, likeliest
