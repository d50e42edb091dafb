"""What the losses over pairs of modalities share."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.modules.losses.gather import gather_modalities, num_ranks
from mmkit.modules.losses.pairs import LossPair, MatchedPair, RowNumbers, compared_embeddings, match_pairs, zero_loss
from mmkit.modules.losses.tiles import at_least_float32


class PairwiseLoss(nn.Module, ABC):
    """Base of losses that compare the embeddings of pairs of modalities.

    A subclass says what the loss of the matched rows is.

    Args:
        l2_normalize: Divide every embedding by its Euclidean norm first.
        local_loss: With several ranks, compare only a rank's own rows with all others.
        gather_with_grad: With several ranks and ``local_loss``, send gradients back to the ranks that others' rows came from.
        cache_labels: Keep the row numbers that aligned batches are recognised by, instead of making them for every batch.
    """

    def __init__(
        self, l2_normalize: bool = False, local_loss: bool = False, gather_with_grad: bool = False, cache_labels: bool = False
    ) -> None:
        super().__init__()
        self.l2_normalize = l2_normalize
        self.local_loss = local_loss
        self.gather_with_grad = gather_with_grad
        self.row_numbers = RowNumbers(cached=cache_labels)
        self._warned = False

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        example_ids: Mapping[str, Tensor],
        logit_scale: Tensor,
        modality_loss_pairs: Sequence[LossPair],
    ) -> Tensor:
        """Compute the weighted sum of the losses of all pairs of modalities.

        A pair of which the batch has no examples counts zero. If that is so for all pairs, the loss is zero, with zero gradients,
        and a warning is given once.

        Args:
            embeddings: Embeddings (B_m, D) by ``<modality>_embedding``; modalities may be missing, and so may examples of each.
            example_ids: Ids (B_m, 2) by modality. Rows with equal ids belong together; there may be several.
            logit_scale: Factor of the dot products (no logarithm), a tensor of one positive number.
            modality_loss_pairs: What to compare: objects with ``modalities``, two names, and a ``weight``.

        Raises:
            ValueError: If the batch holds none of the modalities of the pairs, or embeddings and ids do not fit together.
        """
        if self.local_loss and num_ranks() > 1:
            raise NotImplementedError(
                f"local_loss is not supported with several ranks ({num_ranks()} here). Set local_loss to false: the loss and its "
                "gradients are then those of the whole batch."
            )
        names = sorted({name for pair in modality_loss_pairs for name in pair.modalities})
        embeddings, example_ids = gather_modalities(embeddings, example_ids, names)
        compared = compared_embeddings(embeddings, modality_loss_pairs)
        if self.l2_normalize:
            compared = {name: F.normalize(at_least_float32(x_BD), dim=-1) for name, x_BD in compared.items()}
        matched = match_pairs(compared, example_ids, modality_loss_pairs, self.row_numbers)
        if not matched:
            self._warn_once(modality_loss_pairs)
        loss = self.matched_loss(matched, compared, logit_scale)
        unused = [x_BD for name, x_BD in compared.items() if not any(name in pair.modalities for pair in matched)]
        unused += [] if matched else [logit_scale, *self.parameters()]
        return loss + zero_loss(*unused) if unused else loss  # nobody's gradient is None: other ranks may have one

    @abstractmethod
    def matched_loss(self, matched: Sequence[MatchedPair], embeddings: Mapping[str, Tensor], logit_scale: Tensor) -> Tensor:
        """The loss of the pairs of rows that belong together.

        Args:
            matched: For every pair of modalities that the batch has, its rows; may be empty.
            embeddings: All embeddings (B_m, D) of the compared modalities, by modality.
            logit_scale: Factor of the dot products.
        """

    def _warn_once(self, modality_loss_pairs: Sequence[LossPair]) -> None:
        if self._warned:
            return
        self._warned = True
        pairs = " or ".join("–".join(pair.modalities) for pair in modality_loss_pairs)
        warnings.warn(
            f"No example of a batch has both modalities of a pair ({pairs}): the loss is zero and nothing is learned from such "
            "batches. Check their example ids. This is said once.",
            stacklevel=3,
        )
