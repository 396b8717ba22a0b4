"""How the next token is drawn from the logits, with a generator of its own for each request.

The same seed draws the same numbers alone and in company. Knows one row of logits at a time.
"""

import torch

from assistant.errors import EngineError


class Sampler:
    """The sampling state of one request. Logits are [vocabulary] in float32."""

    def __init__(self, request):
        self.sampling = request.sampling
        self.banned = torch.tensor(sorted(request.banned_ids), dtype=torch.long)
        self.seen = set(request.ids[request.penalty_from :])
        self.generator = torch.Generator()
        if request.sampling.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(request.sampling.seed)

    def draw(self, logits):
        """The next token's id. Raises EngineError when the logits are not finite."""
        if not torch.isfinite(logits).all():
            raise EngineError(
                "The model's output is not a number, so this reply cannot go on; "
                "if it happens again, try --dtype float32 or download the checkpoint again."
            )
        logits = logits.cpu().clone()
        self._penalise(logits)
        logits[self.banned] = -torch.inf
        token = self._pick(logits)
        self.seen.add(token)
        return token

    def _penalise(self, logits):
        """Divide positive and multiply negative logits of seen tokens (arXiv:1909.05858)."""
        penalty = self.sampling.repetition_penalty
        if penalty != 1 and self.seen:
            seen = torch.tensor(sorted(self.seen))
            values = logits[seen]
            logits[seen] = torch.where(values > 0, values / penalty, values * penalty)

    def _pick(self, logits):
        temperature, top_k, top_p = (
            self.sampling.temperature,
            self.sampling.top_k,
            self.sampling.top_p,
        )
        if temperature == 0:
            return int(logits.argmax())
        values, ids = logits.sort(descending=True, stable=True)
        if top_k:
            values, ids = values[:top_k], ids[:top_k]
        weights = (values.double() / temperature).softmax(0)
        total = weights.cumsum(0)
        # The nucleus (arXiv:1904.09751) is the smallest set that reaches top_p; one always stays.
        last = int((total - weights < top_p).sum()) - 1
        point = torch.rand((), generator=self.generator, dtype=torch.double) * total[last]
        return int(ids[min(int(torch.searchsorted(total, point, right=True)), last)])
