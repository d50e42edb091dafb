import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.modules.metrics import (
    RetrievalRanks,
    chance_hit_rate,
    first_ranks,
    mean_average_precision,
    median_rank,
    recall_at_k,
    retrieval_ranks,
)


def ids_of(numbers):
    return torch.tensor([[0, n] for n in numbers], dtype=torch.long).reshape(-1, 2)


def naive_ranks(query, target, query_ids, target_ids):
    """Ranks of the positives by query row: count who stands before whom, one pair at a time."""
    query, target = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (query, target))
    ranks = {}
    for i, x in enumerate(query):
        similarity = [round(float(x @ y), 6) for y in target]
        positives = [j for j, number in enumerate(target_ids) if number == query_ids[i]]
        negatives = [j for j, number in enumerate(target_ids) if number != query_ids[i]]
        best_first = sorted(positives, key=lambda j, similarity=similarity: -similarity[j])
        if positives:
            ahead = [sum(similarity[j] >= similarity[p] for j in negatives) for p in best_first]
            ranks[i] = [count + number for number, count in enumerate(ahead, start=1)]
    return ranks


@st.composite
def galleries(draw):
    query_ids, target_ids = (draw(st.lists(st.integers(0, 4), min_size=1, max_size=8)) for _ in range(2))
    rng = np.random.default_rng(draw(st.integers(0, 100)))
    # Few different directions of length 1, so that there are ties and these are exact in float32.
    directions = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [0.6, 0.8, 0]])
    return *(directions[rng.integers(0, 5, len(numbers))] for numbers in (query_ids, target_ids)), query_ids, target_ids


def ranks_of(query, target, query_ids, target_ids, chunk_size=None):
    tensors = (torch.tensor(x, dtype=torch.float32) for x in (query, target))
    return retrieval_ranks(*tensors, ids_of(query_ids), ids_of(target_ids), chunk_size)


@given(galleries(), st.sampled_from([None, 1, 2, 3]))
def test_ranks_are_those_of_a_naive_count(gallery, chunk_size):
    ranks = ranks_of(*gallery, chunk_size)
    expected = naive_ranks(*gallery)
    assert list(zip(ranks.query_P.tolist(), ranks.rank_P.tolist(), strict=True)) == [
        (i, rank) for i, of_query in expected.items() for rank in of_query
    ]
    assert ranks.num_targets == len(gallery[1])


@given(galleries())
def test_measures_are_those_of_a_naive_loop(gallery):
    ranks, naive = ranks_of(*gallery), list(naive_ranks(*gallery).values())
    if not naive:
        return
    top_k = [1, len(gallery[1])]
    hits = [[float(any(rank <= k for rank in of_query)) for k in top_k] for of_query in naive]
    fractions = [[np.mean([rank <= k for rank in of_query]) for k in top_k] for of_query in naive]
    precisions = [np.mean([(n + 1) / rank for n, rank in enumerate(of_query)]) for of_query in naive]
    torch.testing.assert_close(recall_at_k(ranks, top_k), torch.tensor(hits))
    torch.testing.assert_close(recall_at_k(ranks, top_k, "fraction"), torch.tensor(np.array(fractions), dtype=torch.float32))
    assert first_ranks(ranks).tolist() == [of_query[0] for of_query in naive]
    assert median_rank(ranks).item() == np.median([of_query[0] for of_query in naive])
    assert mean_average_precision(ranks).item() == pytest.approx(np.mean(precisions))


def test_equal_embeddings_never_look_good():
    ranks = ranks_of(np.ones((4, 2)), np.ones((4, 2)), range(4), range(4))
    assert ranks.rank_P.tolist() == [4, 4, 4, 4]


def test_embeddings_with_nan_are_ranked_last():
    query = np.eye(3)
    query[1] = np.nan
    assert ranks_of(query, np.eye(3), range(3), range(3)).rank_P.tolist() == [1, 3, 1]
    target = np.eye(3)
    target[1] = np.nan
    assert ranks_of(np.eye(3)[1:2], target, [1], range(3)).rank_P.tolist() == [3]


def test_queries_without_positive_are_left_out():
    ranks = ranks_of(np.eye(3), np.eye(3), [0, 9, 2], range(3))
    assert ranks.query_P.tolist() == [0, 2]
    assert len(ranks_of(np.eye(3), np.eye(3), [7, 8, 9], range(3)).rank_P) == 0


def test_length_of_embeddings_does_not_matter():
    query, target = np.random.default_rng(0).normal(size=(2, 5, 4))
    scaled = ranks_of(query * np.arange(1, 6)[:, None], target, range(5), range(5))
    assert scaled.rank_P.tolist() == ranks_of(query, target, range(5), range(5)).rank_P.tolist()


def test_chance_is_the_hit_rate_over_all_orders():
    ranks = RetrievalRanks(query_P=torch.tensor([0, 0, 1]), rank_P=torch.tensor([1, 2, 1]), num_targets=4)
    for k in (1, 2, 3, 4):
        two, one = (np.mean([any(p < k for p in places) for places in itertools.permutations(range(4), n)]) for n in (2, 1))
        assert chance_hit_rate(ranks, [k]).item() == pytest.approx((two + one) / 2)


@pytest.mark.parametrize("top_k", [[5], [1, 0]], ids=["too large", "zero"])
def test_k_beyond_the_gallery_is_an_error(top_k):
    ranks = ranks_of(np.eye(4), np.eye(4), range(4), range(4))
    with pytest.raises(ValueError, match=r"there are 4 targets\. Every k must be from 1 to that number"):
        recall_at_k(ranks, top_k)


def test_ids_and_embeddings_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match=r"query embeddings have shape \(2, 3\) and their ids \(1, 2\)"):
        retrieval_ranks(torch.zeros(2, 3), torch.zeros(1, 3), ids_of([0]), ids_of([0]))
    with pytest.raises(ValueError, match="Query embeddings have size 3, target embeddings 4"):
        retrieval_ranks(torch.zeros(1, 3), torch.zeros(1, 4), ids_of([0]), ids_of([0]))
