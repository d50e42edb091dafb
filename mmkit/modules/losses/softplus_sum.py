"""Sum of binary losses over all pairs of rows, in memory linear in the batch."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.modules.losses.tiles import at_least_float32, logit_tiles, made_at_once, tile_height, without_autocast


# Shapes: M rows of a, K rows of b, D embedding dim, P positive pairs, T rows of a tile.
def softplus_sum(
    a_MD: Tensor,
    b_KD: Tensor,
    scale: Tensor,
    bias: Tensor,
    rows_P: Tensor | None = None,
    columns_P: Tensor | None = None,
) -> Tensor:
    r"""Sum of :math:`\log(1 + e^{z_{ij}})` over all pairs, where a logit counts as its negative for the positive pairs.

    The logits are :math:`z_{ij} = \text{scale} \cdot a_i^\top b_j + \text{bias}`, so this is the binary cross-entropy, summed,
    of the question whether a pair is positive.

    Args:
        a_MD: Embeddings (M, D).
        b_KD: Embeddings (K, D).
        scale: Factor of the logits, a tensor of one element.
        bias: Added to the logits, a tensor of one element.
        rows_P: Row of ``a_MD`` of every positive pair, ascending; no pair is positive without it.
        columns_P: Row of ``b_KD`` of every positive pair.

    Returns:
        The sum, a scalar; float32 for half-precision embeddings, which are multiplied in float32.

    Example:
        >>> one = torch.ones(1, 1)
        >>> softplus_sum(one, one, torch.tensor(2.0), torch.tensor(-2.0))  # log(1 + exp(0))
        tensor(0.6931)
    """
    if rows_P is None or columns_P is None:
        rows_P = columns_P = torch.empty(0, dtype=torch.long, device=a_MD.device)
    with without_autocast(a_MD.device):
        a_MD, b_KD = at_least_float32(a_MD), at_least_float32(b_KD)
        scale, bias = at_least_float32(scale).reshape(()), at_least_float32(bias).reshape(())
        if made_at_once(a_MD, b_KD):
            return _dense_sum(a_MD, b_KD, scale, bias, rows_P, columns_P)
        with_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (a_MD, b_KD, scale, bias))
        return _TiledSum.apply(a_MD, b_KD, scale, bias, rows_P, columns_P, with_grad)


def _dense_sum(a_MD: Tensor, b_KD: Tensor, scale: Tensor, bias: Tensor, rows_P: Tensor, columns_P: Tensor) -> Tensor:
    logits_MK = (scale * a_MD) @ b_KD.T + bias
    logits_MK = logits_MK.index_put((rows_P, columns_P), -logits_MK[rows_P, columns_P])
    return F.softplus(logits_MK).sum()


class _TiledSum(torch.autograd.Function):
    """:func:`_dense_sum` a tile at a time.

    No tile depends on another, so that each gives its share of the gradients at once: nothing is made twice.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        total, *gradients = _tiled_sum(*inputs)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        return *(grad * gradient for gradient in ctx.saved_tensors), None, None, None


def _tiled_sum(
    a_MD: Tensor, b_KD: Tensor, scale: Tensor, bias: Tensor, rows_P: Tensor, columns_P: Tensor, with_grad: bool
) -> list[Tensor]:
    """The sum and, ``with_grad``, its gradients of ``a_MD``, ``b_KD``, ``scale`` and ``bias``."""
    sums = []
    gradients = [torch.zeros_like(x) for x in (a_MD, b_KD, scale, bias)] if with_grad else []
    for tile in logit_tiles(a_MD, b_KD, scale, rows_P, columns_P):
        logits_TK = tile.logits_TK.add_(bias)
        logits_TK[tile.positive_index] *= -1
        sums.append(F.softplus(logits_TK).sum())
        if not with_grad:
            continue
        grad_a_MD, grad_b_KD, grad_scale, grad_bias = gradients
        grad_TK = torch.sigmoid(logits_TK, out=tile.scratch_TK)
        grad_TK[tile.positive_index] *= -1
        grad_b_KD.addmm_(grad_TK.T, tile.scaled_TD)
        grad_a_TD = torch.mm(grad_TK, b_KD, out=grad_a_MD[tile.rows])
        grad_scale += (grad_a_TD * a_MD[tile.rows]).sum()  # the logits are linear in the scale
        grad_a_TD.mul_(scale)
        grad_bias += grad_TK.sum()
    return [torch.stack(sums).sum(), *gradients]


def self_softplus_sum(a_MD: Tensor, scale: float) -> Tensor:
    r"""Sum of :math:`\log(1 + e^{z_{ij}})` over all pairs of rows of one matrix.

    The logits :math:`z_{ij} = \text{scale} \cdot a_i^\top a_j` are symmetric, so only those on and above the diagonal are made.

    Args:
        a_MD: Embeddings (M, D).
        scale: Factor of the logits.
    """
    with without_autocast(a_MD.device):
        a_MD = at_least_float32(a_MD)
        return _SymmetricSum.apply(a_MD, scale, torch.is_grad_enabled() and a_MD.requires_grad)


class _SymmetricSum(torch.autograd.Function):
    """A block of rows against the columns from its own first row on; what is right of the square block counts twice."""

    @staticmethod
    def forward(ctx: Any, a_MD: Tensor, scale: float, with_grad: bool) -> Tensor:
        sums = []
        grad_MD = torch.zeros_like(a_MD)
        height = min(tile_height(len(a_MD)), max(len(a_MD) // 16, 64))  # 16 blocks make only 3 % of the logits below the diagonal
        for start in range(0, len(a_MD), height):
            tile_TD, rest_RD = a_MD[start : start + height] * scale, a_MD[start:]
            logits_TR = tile_TD @ rest_RD.T
            losses_TR = F.softplus(logits_TR)
            sums.append(2 * losses_TR.sum() - losses_TR[:, : len(tile_TD)].sum())
            if with_grad:
                grad_TR = logits_TR.sigmoid_()
                grad_TR[:, : len(tile_TD)] /= 2
                grad_MD[start : start + height].addmm_(grad_TR, rest_RD, alpha=2 * scale)
                grad_MD[start:].addmm_(grad_TR.T, tile_TD, alpha=2)
        ctx.save_for_backward(grad_MD)
        return torch.stack(sums).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad * ctx.saved_tensors[0], None, None
