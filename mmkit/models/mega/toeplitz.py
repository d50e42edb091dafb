"""Toeplitz matrices: a convolution inside a chunk as a matrix product."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


# Shapes: D channels, S positions of a chunk, n = 2 S.


@torch.library.custom_op("mmkit::toeplitz", mutates_args=())
def toeplitz(circle_Dn: Tensor) -> Tensor:
    """The matrices with ``circle[(j - i) % n]`` at (i, j), (D, S, S).

    Rows of n places written one after the other and read as rows of n - 1 start one place later each, so nothing is gathered.
    """
    places = circle_Dn.shape[-1]
    size = places // 2
    flat = circle_Dn.repeat(1, size)[:, : size * (places - 1)]
    return flat.view(-1, size, places - 1)[..., :size].contiguous()


@torch.library.custom_op("mmkit::diagonal_sums", mutates_args=())
def diagonal_sums(matrix_DSS: Tensor) -> Tensor:
    """Sums along the diagonals, (D, n): the gradient of ``toeplitz``, which autograd would scatter."""
    size = matrix_DSS.shape[-1]
    flat = F.pad(matrix_DSS, (0, size - 1)).flatten(1)
    return F.pad(flat, (0, size)).view(-1, size, 2 * size).sum(1)


@toeplitz.register_fake
def _(circle_Dn: Tensor) -> Tensor:
    size = circle_Dn.shape[-1] // 2
    return circle_Dn.new_empty(circle_Dn.shape[0], size, size)


@diagonal_sums.register_fake
def _(matrix_DSS: Tensor) -> Tensor:
    return matrix_DSS.new_empty(matrix_DSS.shape[0], 2 * matrix_DSS.shape[-1])


def _gradient(ctx: Any, gradient_DSS: Tensor) -> Tensor:
    return diagonal_sums(gradient_DSS)


toeplitz.register_autograd(_gradient)
