"""Which topic a question is about, told from the middle of the model while it is trained.

A small model soon knows an answer's words; which answer a question wants it learns last, since a
language model's loss decides that in a few tokens out of many. Here it is all that is asked, of the
state where a question ends, halfway up the layers: what stands there can be read by all tokens of
the answer in the layers above. The checkpoint keeps nothing of it.
"""

import torch
from torch.nn.functional import cross_entropy, layer_norm, normalize

from training.sequences import NOT_LEARNED

SCALE = 20.0  # of the cosines, so that one near 1 is needed to be sure
LOUDNESS = 0.75  # the cosine of a state that is told its topic


class TopicHead(torch.nn.Module):
    """A direction in `width` numbers for each of `keys`, the topics by their numbers.

    How sure it is depends on the angle to the state alone. A linear layer with weights and scale of
    its own told as much from states in which topics were a twentieth of what varies, and the layers
    above read nothing of that.
    """

    def __init__(self, keys, width):
        super().__init__()
        self.keys = list(keys)
        self.directions = torch.nn.Parameter(torch.randn(len(self.keys), width) / width**0.5)

    def begin(self, questions, vocabulary, passes=2, rows=270, lr=1e-2):
        """Directions out of the words of `questions`, a list of (ids, number of the topic): those
        that tell topics best from the sum of vectors for a question's tokens, vectors and
        directions being learned together. Returns the loss of the last rows, in nats."""
        with self.directions.device:
            words = torch.nn.EmbeddingBag(vocabulary, self.directions.shape[1], mode="sum")
            torch.nn.init.normal_(words.weight, std=0.05)
            optimizer = torch.optim.Adam([words.weight, self.directions], lr, betas=(0.9, 0.98))
            for _ in range(passes):
                for part in torch.randperm(len(questions)).split(rows):
                    ids, numbers = zip(*(questions[n] for n in part), strict=True)
                    starts = torch.tensor([0, *map(len, ids)][:-1]).cumsum(0)
                    found = words(torch.tensor([token for one in ids for token in one]), starts)
                    loss = cross_entropy(self.logits(found), torch.tensor(numbers))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        return loss.item()

    def logits(self, states):
        """Of each topic, (..., topics), for `states` (..., width)."""
        normed = layer_norm(states, states.shape[-1:])
        return SCALE * normalize(normed, dim=-1) @ normalize(self.directions, dim=-1).T

    def loss(self, states, topics):
        """Mean cross-entropy in nats; 0 where there are no topics.

        states: (rows, tokens, width), what stands behind half of the layers. topics: (rows, tokens)
        numbers, NOT_LEARNED where nothing is asked.
        """
        asked = topics != NOT_LEARNED
        logits = self.logits(states[asked]).float()
        return cross_entropy(logits, topics[asked], reduction="sum") / asked.sum().clamp(min=1)

    def told(self, states, topics, share):
        """`states` as `loss` has them, in the first `share` of the rows with the right topic in
        them where it is asked: what an answer's words are is learned while what a question is about
        is still told wrongly."""
        rows = torch.arange(len(topics), device=topics.device)[:, None] < share * len(topics)
        directions = normalize(self.directions.detach()[topics.clamp(min=0)], dim=-1)
        size = states.norm(dim=-1, keepdim=True)
        told = LOUDNESS * size * directions + (1 - LOUDNESS**2) ** 0.5 * states
        return torch.where((rows & (topics != NOT_LEARNED))[..., None], told.to(states), states)

    def save(self, file):
        torch.save({"keys": self.keys, "weights": self.state_dict()}, file)

    def load(self, file, device):
        """What another run learned, if `file` is there and that run knew the same topics; whether
        it did."""
        if not file.exists():
            return False
        saved = torch.load(file, device, weights_only=True)
        if saved["keys"] != self.keys:
            return False
        self.load_state_dict(saved["weights"])
        return True
