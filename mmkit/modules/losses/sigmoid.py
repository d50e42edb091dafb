"""The pairwise sigmoid loss over any number of modalities."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmkit.conf import external_store
from mmkit.modules.losses.pairs import MatchedPair
from mmkit.modules.losses.pairwise_loss import PairwiseLoss
from mmkit.modules.losses.softplus_sum import softplus_sum


# Shapes: M rows of a, K rows of b, D embedding dim, P positive pairs.
def sigmoid_loss(
    a_MD: Tensor, b_KD: Tensor, rows_P: Tensor, columns_P: Tensor, logit_scale: Tensor, logit_bias: Tensor
) -> Tensor:
    r"""Binary cross-entropy of every pair of rows, summed over pairs, per row.

    .. math::
        -\frac{2}{M + K} \sum_{i=1}^{M} \sum_{j=1}^{K} \log \sigma\big(y_{ij} (s \cdot a_i^\top b_j + c)\big)

    where :math:`s` is the scale and :math:`c` the bias of the logits, and :math:`y_{ij}` is 1 for positive pairs and -1 for the
    others. With one partner per row M = K, and it is the loss of SigLIP (https://arxiv.org/abs/2303.15343, equation 1).

    Args:
        a_MD: Embeddings (M, D).
        b_KD: Embeddings (K, D).
        rows_P: Row of ``a_MD`` of every positive pair, ascending.
        columns_P: Row of ``b_KD`` of every positive pair.
        logit_scale: Factor of the dot products (no logarithm), a tensor of one element.
        logit_bias: Added to the logits, a tensor of one element.

    Example:
        >>> one, index = torch.ones(1, 1), torch.zeros(1, dtype=torch.long)
        >>> sigmoid_loss(one, one, index, index, torch.tensor(10.0), torch.tensor(-10.0))  # log(1 + exp(0))
        tensor(0.6931)
    """
    return softplus_sum(a_MD, b_KD, logit_scale, logit_bias, rows_P, columns_P) * (2 / (len(a_MD) + len(b_KD)))


@external_store(group="modules/losses")
class SigmoidLoss(PairwiseLoss):
    """The loss of SigLIP (https://arxiv.org/abs/2303.15343) between pairs of modalities, see :func:`sigmoid_loss`.

    Rows with equal ids are positives of each other and never negatives. Memory is linear in the batch. The bias of the logits
    is a parameter of the loss, ``logit_bias``; the paper starts with a ``logit_scale`` of 10.

    Args:
        l2_normalize: Divide every embedding by its Euclidean norm first.
        local_loss: With several ranks, compare only a rank's own rows with all others (not supported yet; without it the
            gradients are those of the whole batch).
        gather_with_grad: With several ranks and ``local_loss``, send gradients back to the ranks that others' rows came from.
        cache_labels: Keep the row numbers that aligned batches are recognised by, instead of making them for every batch.
        init_logit_bias: The bias at the start. Nearly all pairs are negative; -10 keeps them from dominating the first steps.
    """

    def __init__(
        self,
        l2_normalize: bool = False,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        cache_labels: bool = False,
        init_logit_bias: float = -10.0,
    ) -> None:
        super().__init__(l2_normalize, local_loss, gather_with_grad, cache_labels)
        self.logit_bias = nn.Parameter(torch.tensor(init_logit_bias))

    def matched_loss(self, matched: Sequence[MatchedPair], embeddings: Mapping[str, Tensor], logit_scale: Tensor) -> Tensor:
        terms = (
            pair.weight * sigmoid_loss(pair.a_MD, pair.b_KD, pair.rows_P, pair.columns_P, logit_scale, self.logit_bias)
            for pair in matched
        )
        return sum(terms, start=logit_scale.new_zeros(()))
