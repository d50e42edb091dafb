"""The contrastive loss over any number of modalities."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from mmkit.conf import external_store
from mmkit.modules.losses.info_nce import info_nce, info_nce_and_softplus_sum
from mmkit.modules.losses.modality_alignment import modality_alignment_loss
from mmkit.modules.losses.pairs import MatchedPair, check_sizes
from mmkit.modules.losses.pairwise_loss import PairwiseLoss


@external_store(group="modules/losses")
class ContrastiveLoss(PairwiseLoss):
    """InfoNCE between pairs of modalities (https://arxiv.org/abs/2103.00020).

    The formula is at :func:`~mmkit.modules.losses.info_nce.info_nce`. Rows with equal ids are positives of each other and never
    negatives. Memory is linear in the batch.

    Args:
        l2_normalize: Divide every embedding by its Euclidean norm first.
        local_loss: With several ranks, compare only a rank's own rows with all others (not supported yet; without it the
            gradients are those of the whole batch).
        gather_with_grad: With several ranks and ``local_loss``, send gradients back to the ranks that others' rows came from.
        modality_alignment: Add the loss of telling modalities apart, see
            :func:`~mmkit.modules.losses.modality_alignment.modality_alignment_loss`.
        cache_labels: Keep the row numbers that aligned batches are recognised by, instead of making them for every batch.
    """

    def __init__(
        self,
        l2_normalize: bool = False,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        modality_alignment: bool = False,
        cache_labels: bool = False,
    ) -> None:
        super().__init__(l2_normalize, local_loss, gather_with_grad, cache_labels)
        self.modality_alignment = modality_alignment

    def matched_loss(self, matched: Sequence[MatchedPair], embeddings: Mapping[str, Tensor], logit_scale: Tensor) -> Tensor:
        zero = logit_scale.new_zeros(())
        if not self.modality_alignment:
            return sum((pair.weight * info_nce(*_arguments(pair), logit_scale) for pair in matched), start=zero)
        return _aligned_loss(matched, embeddings, logit_scale)


def _arguments(pair: MatchedPair) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return pair.a_MD, pair.b_KD, pair.rows_P, pair.columns_P


def _aligned_loss(matched: Sequence[MatchedPair], embeddings: Mapping[str, Tensor], logit_scale: Tensor) -> Tensor:
    """Both losses; where no row of a pair was left out, they share its dot products, which are most of the work."""
    check_sizes(embeddings)
    present = {name: x_BD for name, x_BD in embeddings.items() if len(x_BD) > 0}
    loss, softplus_sums = logit_scale.new_zeros(()), {}
    for pair in matched:
        name_a, name_b = pair.modalities
        if len(pair.a_MD) == len(present[name_a]) and len(pair.b_KD) == len(present[name_b]):
            pair_loss, softplus_sums[frozenset(pair.modalities)] = info_nce_and_softplus_sum(*_arguments(pair), logit_scale)
        else:
            pair_loss = info_nce(*_arguments(pair), logit_scale)
        loss = loss + pair.weight * pair_loss
    return loss + modality_alignment_loss(present, softplus_sums) if present else loss
