"""Modality alignment: embeddings of one modality are told apart from those of the others."""

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from mmkit.modules.losses.softplus_sum import self_softplus_sum, softplus_sum


# Shapes: B rows of one modality, D embedding dim.
def modality_alignment_loss(
    embeddings: Mapping[str, Tensor], softplus_sums: Mapping[frozenset[str], Tensor] | None = None
) -> Tensor:
    r"""Balanced binary cross-entropy of the question whether two embeddings are of the same modality.

    All embeddings stand in one list, and a pair of them is positive if both are of the same modality, a row with itself
    included, so that every row has a positive. The logits are the plain dot products :math:`z_{ij}`. With
    :math:`\mathcal{P}_i` the positives of row i and :math:`\mathcal{N}_i` its negatives, the loss is the mean over rows of

    .. math::
        \frac{1}{|\mathcal{P}_i|} \sum_{j \in \mathcal{P}_i} \log(1 + e^{-z_{ij}})
        + \frac{1}{|\mathcal{N}_i|} \sum_{j \in \mathcal{N}_i} \log(1 + e^{z_{ij}})

    Without a second modality there are no negatives, and the second term is zero.

    Args:
        embeddings: Embeddings (B, D) by modality; B may differ.
        softplus_sums: :math:`\sum_{ij} \log(1 + e^{z_{ij}})` of pairs of modalities for which it is known already.

    Example:
        >>> modality_alignment_loss({"rgb": torch.zeros(2, 4), "text": torch.zeros(3, 4)})  # 2 log(2)
        tensor(1.3863)
    """
    num_rows = sum(map(len, embeddings.values()))
    one, zero = torch.tensor([1.0, 0.0], device=next(iter(embeddings.values())).device)
    terms = [self_softplus_sum(x_BD, -1) / (len(x_BD) * num_rows) for x_BD in embeddings.values()]
    known = softplus_sums or {}
    for (name_a, a_BD), (name_b, b_BD) in itertools.combinations(embeddings.items(), 2):
        pair = frozenset((name_a, name_b))
        total = known[pair] if pair in known else softplus_sum(a_BD, b_BD, one, zero)
        # Each pair counts once for either of its rows.
        terms.append(total * (1 / (num_rows - len(a_BD)) + 1 / (num_rows - len(b_BD))) / num_rows)
    return torch.stack(terms).sum()
