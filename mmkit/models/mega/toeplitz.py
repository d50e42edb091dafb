"""Toeplitz matrices: a convolution inside a chunk as a matrix product."""

from typing import Any

import torch
from torch import Tensor


# Shapes: D channels, S positions of a chunk, n = 2 S.


class Toeplitz(torch.autograd.Function):
    """The matrices with ``circle[(j - i) % n]`` at (i, j), (D, S, S), from (D, n).

    Rows of n places written one after the other and read as rows of n - 1 start one place later each, so nothing is gathered. The
    gradient, sums along the diagonals, goes the same way back; autograd would scatter it.
    """

    @staticmethod
    def forward(ctx: Any, circle_Dn: Tensor) -> Tensor:
        places = circle_Dn.shape[-1]
        size = places // 2
        flat = circle_Dn.repeat(1, size)[:, : size * (places - 1)]
        return flat.view(-1, size, places - 1)[..., :size].contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient_DSS,) = gradients
        size = gradient_DSS.shape[-1]
        flat = torch.nn.functional.pad(gradient_DSS, (0, size - 1)).flatten(1)
        return torch.nn.functional.pad(flat, (0, size)).view(-1, size, 2 * size).sum(1)
