"""Recall at k of embeddings that are collected over an epoch."""

from typing import Any, Literal

from torch import Tensor

from mmkit.conf import external_store
from mmkit.modules.metrics.collected_rows import CollectedRows
from mmkit.modules.metrics.retrieval import recall_at_k, retrieval_ranks


# Shapes: N queries, M targets, D embedding dim, Q queries with a positive, K values of k.
AGGREGATIONS = {
    "mean": lambda x_QK: x_QK.mean(0),
    "median": lambda x_QK: x_QK.quantile(0.5, dim=0),
    "min": lambda x_QK: x_QK.amin(0),
    "max": lambda x_QK: x_QK.amax(0),
    "sum": lambda x_QK: x_QK.sum(0),
    "none": lambda x_QK: x_QK,
}


@external_store(group="modules/metrics")
class RetrievalRecallAtK(CollectedRows):
    """Whether a query's positives are among the k targets with the highest cosine similarity, for all k in one pass.

    Queries without a positive are left out. Ties count against the model, see
    :func:`~mmkit.modules.metrics.retrieval.retrieval_ranks`.

    Args:
        top_k: One k, or several.
        reduction: How the positives of one query become one number: ``"hit"``, whether any is found, which is what papers on
            images and text call recall@k, or ``"fraction"``, the share that is found.
        aggregation: How the queries become one number: ``"mean"``, ``"median"``, ``"min"``, ``"max"``, ``"sum"``; ``"none"``
            keeps one per query.
        **kwargs: Options of ``torchmetrics.Metric``.

    Raises:
        ValueError: If an argument is not one of these. ``compute`` raises it if there are fewer than k targets, or no query has a
            positive.

    Example:
        >>> import torch
        >>> recall = RetrievalRecallAtK(top_k=[1, 2])
        >>> ids = torch.tensor([[0, 0], [0, 1], [0, 2]])
        >>> recall.update(torch.eye(3), torch.eye(3), ids, ids)
        >>> recall.compute()
        tensor([1., 1.])
    """

    higher_is_better = True

    def __init__(
        self,
        top_k: int | list[int],
        reduction: Literal["hit", "fraction"] = "hit",
        aggregation: Literal["mean", "median", "min", "max", "sum", "none"] = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__("query", "target", "query_ids", "target_ids", **kwargs)
        self.one_k = isinstance(top_k, int)
        self.top_k = [top_k] if isinstance(top_k, int) else list(top_k)
        if not self.top_k or not all(isinstance(k, int) and k > 0 for k in self.top_k):
            raise ValueError(f"top_k must be a positive integer or a list of them, got {top_k!r}.")
        if reduction not in ("hit", "fraction"):
            raise ValueError(f"reduction must be 'hit' or 'fraction', got {reduction!r}.")
        if aggregation not in AGGREGATIONS:
            raise ValueError(f"aggregation must be one of {', '.join(AGGREGATIONS)}, got {aggregation!r}.")
        self.reduction: Literal["hit", "fraction"] = reduction
        self.aggregation = aggregation

    def update(self, query_ND: Tensor, target_MD: Tensor, query_ids_N2: Tensor, target_ids_M2: Tensor) -> None:
        """Take in queries and targets; their numbers may differ, and either may be empty.

        Args:
            query_ND: Embeddings (N, D).
            target_MD: Embeddings (M, D).
            query_ids_N2: Example ids (N, 2).
            target_ids_M2: Example ids (M, 2); rows with equal ids are positives, also of other updates.
        """
        super().update(query=query_ND, target=target_MD, query_ids=query_ids_N2, target_ids=target_ids_M2)

    def compute(self) -> Tensor:
        """Recall for each k: a scalar for one k and a tensor (K,) for several; (Q,) or (Q, K) without aggregation."""
        rows = {name: x.to(self.device) for name, x in self.rows().items()}
        if len(rows["query"]) == 0 or len(rows["target"]) == 0:
            raise ValueError(f"There are {len(rows['query'])} queries and {len(rows['target'])} targets; recall needs both.")
        ranks = retrieval_ranks(rows["query"], rows["target"], rows["query_ids"], rows["target_ids"])
        if len(ranks.query_P) == 0:
            raise ValueError(f"No query ({len(rows['query'])}) has the same example id as a target ({ranks.num_targets}).")
        values = AGGREGATIONS[self.aggregation](recall_at_k(ranks, self.top_k, self.reduction))
        return values[..., 0] if self.one_k else values
