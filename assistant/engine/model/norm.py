"""The two norms of decoders: LayerNorm (arXiv:1607.06450) and RMSNorm (arXiv:1910.07467)."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from assistant.engine.model import kernels


class Norm(NamedTuple):
    """weight, bias: [width]. bias: None for an RMSNorm, which subtracts no mean."""

    weight: Tensor
    bias: Tensor | None
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        if self.bias is None:
            return F.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)

    def after(self, x: Tensor, delta: Tensor | None) -> tuple[Tensor, Tensor]:
        """x + delta, and its normalisation; on CUDA in one kernel."""
        if delta is None:
            return x, self(x)
        if kernels.on_kernels(x.device):
            return kernels.add_norm(x, delta, self.weight, self.bias, self.epsilon)
        x = x + delta
        return x, self(x)
