"""Retrieval: where the positives of a query stand among all targets, and what follows from it.

The ranks are computed once and a chunk at a time (:func:`retrieval_ranks`); every measure is a cheap function of them.
"""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.datasets.core import find_matching_indices


CHUNK_SIMILARITIES = 2**22  # 16 MiB of float32 stay in a processor's last cache; a GPU fills up too


# Shapes: N queries, M targets, D embedding dim, P positive pairs, Q queries with a positive, C queries of a chunk, K values of k.
class RetrievalRanks(NamedTuple):
    """Rank of the target in every positive pair of a query and a target.

    Args:
        query_P: Row of the query, ascending. Queries without a positive target do not appear.
        rank_P: Rank of the target, 1 for the best, ascending within a query.
        num_targets: Size of the gallery.
    """

    query_P: Tensor
    rank_P: Tensor
    num_targets: int


def retrieval_ranks(
    query_ND: Tensor, target_MD: Tensor, query_ids_N2: Tensor, target_ids_M2: Tensor, chunk_size: int | None = None
) -> RetrievalRanks:
    """Rank the targets of every query by cosine similarity.

    Ties count against the model: a positive stands behind every negative of the same similarity, so that equal embeddings
    never look good. NaN is worse than everything. Neither depends on the order of the rows.

    Args:
        query_ND: Embeddings (N, D).
        target_MD: Embeddings (M, D).
        query_ids_N2: Example ids (N, 2).
        target_ids_M2: Example ids (M, 2). A target is a positive of a query if their ids are equal; there may be several.
        chunk_size: Queries whose similarities are held at once. Default: about 16 MiB of them.

    Raises:
        ValueError: If embeddings and ids do not fit together.

    Example:
        >>> ids = torch.tensor([[0, 0], [0, 1], [0, 2]])
        >>> retrieval_ranks(torch.eye(3), torch.eye(3).roll(1, 0), ids, ids).rank_P
        tensor([3, 3, 3])
    """
    _check(query_ND, target_MD, query_ids_N2, target_ids_M2)
    query_P, target_P = find_matching_indices(query_ids_N2, target_ids_M2)
    if len(query_P) == 0:
        return RetrievalRanks(query_P.cpu(), query_P.cpu(), len(target_MD))
    query_Q, count_Q = torch.unique_consecutive(query_P, return_counts=True)
    query_ND, target_MD = (F.normalize(x.float(), dim=1) for x in (query_ND, target_MD))
    chunk_size = chunk_size or max(CHUNK_SIMILARITIES // len(target_MD), 1)
    queries, counts = query_Q.split(chunk_size), count_Q.split(chunk_size)
    targets = target_P.split([int(count_C.sum()) for count_C in counts])
    chunks = zip(queries, targets, counts, strict=True)
    ranks = [_ranks_of_chunk(query_ND[query_C], target_MD, target_T, count_C) for query_C, target_T, count_C in chunks]
    return RetrievalRanks(query_P.cpu(), torch.cat(ranks).cpu(), len(target_MD))


def _ranks_of_chunk(query_CD: Tensor, target_MD: Tensor, target_P: Tensor, count_C: Tensor) -> Tensor:
    """Ranks (P,) of the positives of one chunk of queries, which are given query by query."""
    row_P = torch.repeat_interleave(count_C)
    number_P = torch.arange(len(row_P), device=row_P.device) - (count_C.cumsum(0) - count_C)[row_P]  # 0, 1, ... in each query
    similarity_CM = query_CD @ target_MD.T
    positive_P = similarity_CM[row_P, target_P]
    similarity_CM[row_P, target_P] = -torch.inf  # below everything, so that only negatives are counted
    ahead_P = torch.empty_like(row_P)
    for number in range(int(count_C.max())):
        is_number_P = number_P == number
        row = row_P[is_number_P]
        of_queries = similarity_CM if len(row) == len(count_C) else similarity_CM[row]
        ahead_P[is_number_P] = _num_not_below(of_queries, positive_P[is_number_P])
    ahead_P = torch.minimum(ahead_P, len(target_MD) - count_C[row_P])  # a NaN is not below, and the positives are no negatives
    order_P = torch.argsort(ahead_P + row_P * (len(target_MD) + 1))  # by negatives ahead, query by query
    return ahead_P[order_P] + number_P + 1


def _num_not_below(similarity_CM: Tensor, threshold_C: Tensor) -> Tensor:
    """Entries of each row that are at least the threshold, or NaN."""
    # Zeros and ones in float32 are added up three times as fast as booleans.
    below_CM = torch.lt(similarity_CM, threshold_C[:, None], out=torch.empty_like(similarity_CM))
    return similarity_CM.size(1) - below_CM.sum(1).long()


def _check(query_ND: Tensor, target_MD: Tensor, query_ids_N2: Tensor, target_ids_M2: Tensor) -> None:
    for name, x, ids in (("query", query_ND, query_ids_N2), ("target", target_MD, target_ids_M2)):
        if x.dim() != 2 or len(x) != len(ids):
            raise ValueError(
                f"{name} embeddings have shape {tuple(x.shape)} and their ids {tuple(ids.shape)}; "
                "expected (B, D) and (B, 2) with the same B."
            )
    if query_ND.size(1) != target_MD.size(1):
        raise ValueError(
            f"Query embeddings have size {query_ND.size(1)}, target embeddings {target_MD.size(1)}; they must be equal."
        )


def recall_at_k(ranks: RetrievalRanks, top_k: list[int], reduction: Literal["hit", "fraction"] = "hit") -> Tensor:
    """Recall of every query that has a positive.

    Args:
        ranks: Ranks of the positives.
        top_k: The values of k.
        reduction: ``"hit"``: 1 if any positive is among the first k, else 0. This hit rate is what papers on images and text
            call recall@k. ``"fraction"``: the share of the query's positives among the first k, which is recall in information
            retrieval. With one positive per query they are equal.

    Returns:
        Tensor (Q, K).

    Raises:
        ValueError: If a k is larger than the number of targets, or not positive.
    """
    if not all(1 <= k <= ranks.num_targets for k in top_k):
        raise ValueError(f"top_k is {top_k}, but there are {ranks.num_targets} targets. Every k must be from 1 to that number.")
    found_PK = (ranks.rank_P[:, None] <= torch.tensor(top_k)).float()
    _, group_P, count_Q = torch.unique_consecutive(ranks.query_P, return_inverse=True, return_counts=True)
    found_QK = torch.zeros(len(count_Q), len(top_k)).index_add_(0, group_P, found_PK)
    return found_QK.clamp(max=1) if reduction == "hit" else found_QK / count_Q[:, None]


def first_ranks(ranks: RetrievalRanks) -> Tensor:
    """Rank (Q,) of the best positive of every query that has one."""
    return ranks.rank_P[torch.cat([torch.ones(1, dtype=torch.bool), ranks.query_P.diff() != 0])[: len(ranks.query_P)]]


def median_rank(ranks: RetrievalRanks) -> Tensor:
    """Median over queries of the rank of the best positive; 1 at best."""
    return first_ranks(ranks).double().quantile(0.5)


def mean_average_precision(ranks: RetrievalRanks) -> Tensor:
    """Mean over queries of the average precision: the precision at the rank of each positive, averaged over these."""
    _, group_P, count_Q = torch.unique_consecutive(ranks.query_P, return_inverse=True, return_counts=True)
    number_P = torch.arange(len(group_P)) - (count_Q.cumsum(0) - count_Q)[group_P] + 1
    precision_P = number_P.double() / ranks.rank_P
    return (torch.zeros(len(count_Q), dtype=torch.double).index_add_(0, group_P, precision_P) / count_Q).mean()


def chance_hit_rate(ranks: RetrievalRanks, top_k: list[int]) -> Tensor:
    """Expected hit rate (K,) of a random order: that of these queries, with their numbers of positives."""
    _, count_Q = torch.unique_consecutive(ranks.query_P, return_counts=True)
    negatives_Q1, k_K = ranks.num_targets - count_Q.double()[:, None], torch.tensor(top_k).double()
    log_misses_QK = _log_binomial(negatives_Q1, k_K) - _log_binomial(torch.tensor(ranks.num_targets).double(), k_K)
    return (1 - torch.where(k_K <= negatives_Q1, log_misses_QK, -math.inf).exp()).mean(0)


def _log_binomial(n: Tensor, k: Tensor) -> Tensor:
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
