"""Metrics (config group ``modules/metrics``)."""

from mmkit.modules.metrics.retrieval import (
    RetrievalRanks,
    chance_hit_rate,
    first_ranks,
    mean_average_precision,
    median_rank,
    recall_at_k,
    retrieval_ranks,
)
from mmkit.modules.metrics.retrieval_recall import RetrievalRecallAtK


__all__ = [
    "RetrievalRanks",
    "RetrievalRecallAtK",
    "chance_hit_rate",
    "first_ranks",
    "mean_average_precision",
    "median_rank",
    "recall_at_k",
    "retrieval_ranks",
]
