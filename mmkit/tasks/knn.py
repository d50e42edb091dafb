"""Classification by the nearest neighbours among frozen embeddings."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from mmkit.conf import external_store
from mmkit.tasks.bank_classification import Bank, BankClassification


# Shapes: B queries, N examples of the bank, D embedding dim, C classes, K neighbours.
def knn_scores(query_BD: Tensor, bank: Bank, num_neighbors: int, temperature: float) -> Tensor:
    """Votes (B, C) of the nearest neighbours, each weighted by ``exp(cosine / temperature)``.

    The rule of Wu et al. (https://arxiv.org/abs/1805.01978, section 3.4).

    Args:
        query_BD: Embeddings (B, D) of unit length.
        bank: The embeddings that vote.
        num_neighbors: Number of voters; all if there are not so many.
        temperature: Smaller gives nearer neighbours more weight.
    """
    cosine_BK, neighbor_BK = (query_BD @ bank.x_ND.T).topk(min(num_neighbors, len(bank.x_ND)), dim=1)
    # Relative to the nearest neighbour, which changes no order of the classes and cannot overflow.
    weight_BK = ((cosine_BK - cosine_BK[:, :1]) / temperature).exp()
    return query_BD.new_zeros(len(query_BD), len(bank.label_C)).scatter_add_(1, bank.class_N[neighbor_BK], weight_BK)


@external_store(group="eval_task")
class KNNClassification(BankClassification):
    """Classify every example by a vote of its nearest neighbours in a labelled bank, by cosine similarity.

    The bank is embedded anew for every epoch. Metrics: ``knn<n>_top<k>_accuracy`` and ``knn<n>_macro_accuracy``, the mean over
    classes, for each n of ``num_neighbors``.

    Args:
        bank: Labelled batches that can be iterated again and again, e.g. a ``DataLoader`` over the training data with a
            :class:`~mmkit.datasets.core.DefaultDataCollator`.
        modality: What is embedded and classified.
        num_neighbors: Numbers of voters. Default: 20.
        temperature: Temperature of the votes; smaller gives nearer neighbours more weight.
        top_k: The values of k of the accuracy. Default: 1.
        target_key: Key of the labels, one integer per example. Default: the modality's target, e.g. ``rgb_target``.
    """

    def __init__(
        self,
        bank: Iterable[dict[str, Any]],
        modality: str = "rgb",
        num_neighbors: list[int] | None = None,
        temperature: float = 0.07,
        top_k: list[int] | None = None,
        target_key: str | None = None,
    ) -> None:
        super().__init__(bank, modality, target_key, top_k)
        self.num_neighbors = num_neighbors or [20]
        self.temperature = temperature

    def fit(self, bank: Bank) -> list[str]:
        return [f"knn{number}" for number in self.num_neighbors]

    def scores(self, x_BD: Tensor, bank: Bank) -> dict[str, Tensor]:
        return {f"knn{number}": knn_scores(x_BD, bank, number, self.temperature) for number in self.num_neighbors}
