"""Which topic a question is about, told from the middle of the model while it is trained.

An answer's words are learned soon, which answer is wanted last: in the loss of a language model
that is decided in a few tokens out of many. Here it is all that is asked, of the state where a
question ends, halfway up the layers: what stands there can be read by all tokens of the answer in
the layers above. The checkpoint keeps nothing of it.
"""

import torch
from torch.nn.functional import cross_entropy

from training.sequences import NOT_LEARNED


class Subjects(torch.nn.Module):
    """A linear layer on `width` numbers that tells one of `count` topics."""

    def __init__(self, count, width):
        super().__init__()
        self.norm, self.linear = torch.nn.LayerNorm(width), torch.nn.Linear(width, count)
        torch.nn.init.normal_(self.linear.weight, std=0.02)

    def loss(self, states, topics):
        """Mean cross-entropy in nats of `topics` (rows, tokens), as sequences.py has them, in what
        stands behind half of the layers, (rows, tokens, width); 0 where there are none."""
        asked = topics != NOT_LEARNED
        if not asked.any():
            return states.new_zeros(())
        return cross_entropy(self.linear(self.norm(states[asked])).float(), topics[asked])
