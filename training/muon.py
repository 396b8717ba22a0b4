"""Muon (https://kellerjordan.github.io/posts/muon, scaled as arXiv:2502.16982, 2.2): the step of a
matrix is its momentum with all singular values made about one.

torch has it, in bfloat16 alone: on a CPU without such products one step took twelve seconds, and
takes a quarter of one in float32. Matrices of one shape are computed together.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

_POLYNOMIAL = 3.4445, -4.7750, 2.0315  # of Newton and Schulz, steepest at zero
_TIMES = 5
_MOMENTUM = 0.95
_DECAY = 0.1


class Muon(torch.optim.Optimizer):
    """For parameters that are matrices. dtype: what the polynomial is computed in."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, dtype: torch.dtype) -> None:
        super().__init__(matrices, {"lr": lr})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                alike[matrix.shape].append(matrix)
            for shape, matrices in alike.items():
                moved = [self._momentum(matrix) for matrix in matrices]
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                for matrix, step in zip(
                    matrices, orthogonal(torch.stack(moved), self.dtype), strict=True
                ):
                    matrix.mul_(1 - group["lr"] * _DECAY).sub_(step, alpha=rate)

    def _momentum(self, matrix: Tensor) -> Tensor:
        """Nesterov's: the average of past gradients, and the newest one once more."""
        assert matrix.grad is not None
        state = self.state[matrix]
        average: Tensor = state.setdefault("momentum_buffer", torch.zeros_like(matrix))
        average.lerp_(matrix.grad, 1 - _MOMENTUM)
        return matrix.grad.lerp(average, _MOMENTUM)


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """[count, rows, columns] with singular values about one, in float32."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = _POLYNOMIAL
    for _ in range(_TIMES):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()
