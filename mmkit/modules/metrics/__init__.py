"""Metrics: retrieval, accuracy among the first k, prediction of tokens, reconstruction, latents (group ``modules/metrics``)."""

from mmkit.modules.metrics.latent_diagnostics import LatentDiagnostics
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
from mmkit.modules.metrics.sequence_reconstruction import SequenceReconstruction
from mmkit.modules.metrics.token_prediction import TokenPrediction
from mmkit.modules.metrics.top_k_accuracy import TopKAccuracy


__all__ = [
    "LatentDiagnostics",
    "RetrievalRanks",
    "RetrievalRecallAtK",
    "SequenceReconstruction",
    "TokenPrediction",
    "TopKAccuracy",
    "chance_hit_rate",
    "first_ranks",
    "mean_average_precision",
    "median_rank",
    "recall_at_k",
    "retrieval_ranks",
]
