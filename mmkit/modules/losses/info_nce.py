"""InfoNCE over all pairs of rows, exact with duplicate ids, in memory linear in the batch."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.modules.losses.tiles import at_least_float32, logit_tiles, made_at_once, without_autocast


# Shapes: M rows of a, K rows of b, D embedding dim, P positive pairs, T rows of a tile.
def info_nce(a_MD: Tensor, b_KD: Tensor, rows_P: Tensor, columns_P: Tensor, logit_scale: Tensor) -> Tensor:
    r"""Symmetric InfoNCE in which a row may have several positives.

    With :math:`s_{ij} = \text{logit\_scale} \cdot a_i^\top b_j`, the positive pairs :math:`\mathcal{P}` and the negatives
    :math:`\mathcal{N}_i` of row i (all columns that are not its positives), one direction is

    .. math::
        \frac{1}{|\mathcal{P}|} \sum_{(i,p) \in \mathcal{P}}
        -\log \frac{e^{s_{ip}}}{e^{s_{ip}} + \sum_{j \in \mathcal{N}_i} e^{s_{ij}}}

    and the loss is the average of both directions. Positives of the same row never compete. With one positive per row it
    is the loss of CLIP (https://arxiv.org/abs/2103.00020, figure 3), after van den Oord et al.
    (https://arxiv.org/abs/1807.03748, equation 4).

    Args:
        a_MD: Embeddings (M, D).
        b_KD: Embeddings (K, D).
        rows_P: Row of ``a_MD`` of every positive pair, ascending.
        columns_P: Row of ``b_KD`` of every positive pair.
        logit_scale: Factor of the logits (no logarithm), a tensor of one positive number.

    Returns:
        The loss, a scalar; float32 for half-precision embeddings, which are multiplied in float32.

    Example:
        >>> eye, index = torch.eye(2), torch.arange(2)
        >>> info_nce(eye, eye, index, index, torch.tensor(1.0))  # log(1 + exp(-1))
        tensor(0.3133)
    """
    return _info_nce(a_MD, b_KD, rows_P, columns_P, logit_scale, with_softplus=False)[0]


def info_nce_and_softplus_sum(
    a_MD: Tensor, b_KD: Tensor, rows_P: Tensor, columns_P: Tensor, logit_scale: Tensor
) -> tuple[Tensor, Tensor]:
    r""":func:`info_nce` and :math:`\sum_{ij} \log(1 + e^{a_i^\top b_j})`, for which the dot products are made only once."""
    loss, total = _info_nce(a_MD, b_KD, rows_P, columns_P, logit_scale, with_softplus=True)
    return loss, total


def _info_nce(
    a_MD: Tensor, b_KD: Tensor, rows_P: Tensor, columns_P: Tensor, logit_scale: Tensor, with_softplus: bool
) -> tuple[Tensor, Tensor]:
    with without_autocast(a_MD.device):
        a_MD, b_KD, scale = at_least_float32(a_MD), at_least_float32(b_KD), at_least_float32(logit_scale).reshape(())
        at_once = made_at_once(a_MD, b_KD)
        if at_once and not with_softplus and _is_aligned(a_MD, b_KD, rows_P, columns_P):
            return _aligned_info_nce((scale * a_MD) @ b_KD.T, rows_P), scale.new_zeros(())
        terms = _dense_terms if at_once else _TiledTerms.apply
        positive_P, negatives_M, negatives_K, softplus_sum = terms(a_MD, b_KD, scale, rows_P, columns_P, with_softplus)
        to_columns_P, to_rows_P = negatives_M[rows_P] - positive_P, negatives_K[columns_P] - positive_P
        return (F.softplus(to_columns_P).mean() + F.softplus(to_rows_P).mean()) / 2, softplus_sum


def _is_aligned(a_MD: Tensor, b_KD: Tensor, rows_P: Tensor, columns_P: Tensor) -> bool:
    """Whether row i and column i belong together, and nothing else does: the usual batch."""
    if not len(a_MD) == len(b_KD) == len(rows_P) or not torch.equal(rows_P, columns_P):
        return False
    return torch.equal(rows_P, torch.arange(len(rows_P), device=rows_P.device))


def _aligned_info_nce(logits_MM: Tensor, diagonal_M: Tensor) -> Tensor:
    """The same loss in two fused operations: in small batches, the number of operations is what costs."""
    return (F.cross_entropy(logits_MM, diagonal_M) + F.cross_entropy(logits_MM.T, diagonal_M)) / 2


Terms = tuple[Tensor, Tensor, Tensor, Tensor]


def _dense_terms(a_MD: Tensor, b_KD: Tensor, scale: Tensor, rows_P: Tensor, columns_P: Tensor, with_softplus: bool) -> Terms:
    """What the losses are made of.

    Returns:
        Logits (P,) of the positive pairs, log-sum-exp of the negatives of every row (M,) and of every column (K,), and the sum
        of the softplus of all dot products, zero unless ``with_softplus``.
    """
    logits_MK = (scale * a_MD) @ b_KD.T
    negatives_MK = logits_MK.index_put((rows_P, columns_P), logits_MK.new_tensor(-torch.inf))
    sums = []
    for dim in (1, 0):
        top = negatives_MK.detach().amax(dim, keepdim=True).clamp(min=torch.finfo(a_MD.dtype).min)
        sums.append(_log_sum((negatives_MK - top).exp().sum(dim), top.squeeze(dim)))
    softplus_sum = F.softplus(logits_MK / scale).sum() if with_softplus else scale.new_zeros(())
    return logits_MK[rows_P, columns_P], sums[0], sums[1], softplus_sum


def _log_sum(total: Tensor, top: Tensor) -> Tensor:
    """Logarithm of ``total * exp(top)``; the lowest number, rather than -inf, which makes NaN, if there was no term."""
    return total.clamp(min=torch.finfo(total.dtype).tiny).log() + top


class _TiledTerms(torch.autograd.Function):
    """:func:`_dense_terms` a tile at a time; the backward pass makes the tiles again instead of keeping them."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Terms:
        terms = _tiled_terms(*inputs)
        *tensors, ctx.with_softplus = inputs
        ctx.save_for_backward(*tensors, *terms[1:3])
        return terms

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        with without_autocast(grads[0].device):
            return *_tiled_gradients(*ctx.saved_tensors, *grads, with_softplus=ctx.with_softplus), None, None, None


def _tiled_terms(a_MD: Tensor, b_KD: Tensor, scale: Tensor, rows_P: Tensor, columns_P: Tensor, with_softplus: bool) -> Terms:
    lowest = torch.finfo(a_MD.dtype).min
    positive_P, negatives_M, softplus_sum = a_MD.new_empty(len(rows_P)), a_MD.new_empty(len(a_MD)), a_MD.new_zeros(())
    top_K, total_K = a_MD.new_full((len(b_KD),), lowest), a_MD.new_zeros(len(b_KD))
    for tile in logit_tiles(a_MD, b_KD, scale, rows_P, columns_P):
        logits_TK, exp_TK = tile.logits_TK, tile.scratch_TK
        if with_softplus:
            softplus_sum += F.softplus(torch.div(logits_TK, scale, out=tile.scratch_TK)).sum()
        positive_P[tile.positives] = logits_TK[tile.positive_index]
        logits_TK[tile.positive_index] = -torch.inf
        top_T = logits_TK.amax(1).clamp_(min=lowest)
        negatives_M[tile.rows] = _log_sum(torch.sub(logits_TK, top_T[:, None], out=exp_TK).exp_().sum(1), top_T)
        # Online log-sum-exp (https://arxiv.org/abs/1805.02867): what is summed so far is rescaled to the new maximum.
        new_top_K = torch.maximum(top_K, logits_TK.amax(0))
        total_K = total_K * (top_K - new_top_K).exp_() + torch.sub(logits_TK, new_top_K, out=exp_TK).exp_().sum(0)
        top_K = new_top_K
    return positive_P, negatives_M, _log_sum(total_K, top_K), softplus_sum


def _tiled_gradients(
    a_MD: Tensor,
    b_KD: Tensor,
    scale: Tensor,
    rows_P: Tensor,
    columns_P: Tensor,
    negatives_M: Tensor,
    negatives_K: Tensor,
    grad_P: Tensor,
    grad_M: Tensor,
    grad_K: Tensor,
    grad_softplus: Tensor,
    with_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``a_MD``, ``b_KD`` and ``scale``; that of a negative logit is its share in the sums of row and column."""
    grad_a_MD, grad_b_KD, grad_scale = torch.empty_like(a_MD), torch.zeros_like(b_KD), torch.zeros_like(scale)
    for tile in logit_tiles(a_MD, b_KD, scale, rows_P, columns_P):
        logits_TK, grad_TK = tile.logits_TK, tile.scratch_TK
        sigmoid_TK = (logits_TK / scale).sigmoid_() if with_softplus else None
        if sigmoid_TK is not None:  # the dot products do not depend on the scale: take off what is added for it below
            grad_scale -= (sigmoid_TK.flatten() @ logits_TK.flatten()) * grad_softplus / scale**2
        logits_TK[tile.positive_index] = -torch.inf
        torch.sub(logits_TK, negatives_M[tile.rows, None], out=grad_TK).exp_().mul_(grad_M[tile.rows, None])
        grad_TK.addcmul_(logits_TK.sub_(negatives_K).exp_(), grad_K)
        grad_TK[tile.positive_index] = grad_P[tile.positives]
        if sigmoid_TK is not None:
            grad_TK.addcmul_(sigmoid_TK, grad_softplus / scale)
        grad_b_KD.addmm_(grad_TK.T, tile.scaled_TD)
        grad_a_TD = torch.mm(grad_TK, b_KD, out=grad_a_MD[tile.rows])
        grad_scale += (grad_a_TD * a_MD[tile.rows]).sum()  # the logits are linear in the scale
        grad_a_TD.mul_(scale)
    return grad_a_MD, grad_b_KD, grad_scale
