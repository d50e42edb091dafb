import pytest
import torch
from hydra_zen import instantiate

from mmkit.conf import external_store
from mmkit.modules.metrics import RetrievalRecallAtK


def ids_of(numbers):
    return torch.tensor([[0, n] for n in numbers], dtype=torch.long).reshape(-1, 2)


# Query 0 has its two positives at ranks 1 and 3, query 1 has its positive at rank 2.
QUERY = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
TARGET = torch.tensor([[1.0, 0.0], [0.1, 1.0], [1.0, 1.0], [0.9, 0.1]])
QUERY_IDS, TARGET_IDS = ids_of([0, 1]), ids_of([0, 7, 1, 0])


def filled(*args, **kwargs):
    metric = RetrievalRecallAtK(*args, **kwargs)
    metric.update(QUERY, TARGET, QUERY_IDS, TARGET_IDS)
    return metric


@pytest.mark.parametrize(
    ("reduction", "aggregation", "expected"),
    [
        ("hit", "mean", [0.5, 1.0]),
        ("fraction", "mean", [0.25, 1.0]),
        ("hit", "sum", [1.0, 2.0]),
        ("fraction", "median", [0.25, 1.0]),
        ("fraction", "min", [0.0, 1.0]),
        ("fraction", "max", [0.5, 1.0]),
        ("fraction", "none", [[0.5, 1.0], [0.0, 1.0]]),
    ],
)
def test_reductions_and_aggregations(reduction, aggregation, expected):
    assert filled([1, 2], reduction, aggregation).compute().tolist() == expected


def test_one_k_gives_a_scalar():
    assert filled(1).compute().shape == ()


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batches_may_be_of_any_size_and_lack_one_side(batch_size):
    metric = RetrievalRecallAtK([1, 2])
    for start in range(0, 4, batch_size):
        rows = slice(start, start + batch_size)
        metric.update(QUERY[rows], TARGET[rows], QUERY_IDS[rows], TARGET_IDS[rows])
    torch.testing.assert_close(metric.compute(), filled([1, 2]).compute())


def test_states_are_lists_on_the_cpu_that_ranks_concatenate_and_reset_empties():
    metric = filled(1)
    assert [x.device.type for x in metric.query] == ["cpu"]
    metric.reset()
    assert metric.query == []


def test_config_takes_one_k_or_a_list():
    config = external_store["modules/metrics", "RetrievalRecallAtK"]
    assert instantiate(config, top_k=3).top_k == [3]
    assert instantiate(config, top_k=[1, 5]).top_k == [1, 5]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"top_k": 0}, "top_k must be a positive integer or a list of them, got 0"),
        ({"top_k": []}, r"top_k must be a positive integer or a list of them, got \[\]"),
        ({"top_k": 1, "reduction": "any"}, "reduction must be 'hit' or 'fraction', got 'any'"),
        ({"top_k": 1, "aggregation": "product"}, "aggregation must be one of mean, median, min, max, sum, none, got 'product'"),
    ],
    ids=["zero", "empty", "reduction", "aggregation"],
)
def test_unknown_options_are_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        RetrievalRecallAtK(**kwargs)


def test_k_beyond_the_gallery_is_an_error():
    with pytest.raises(ValueError, match=r"top_k is \[5\], but there are 4 targets"):
        filled(5).compute()


def test_no_positives_at_all_is_an_error():
    metric = RetrievalRecallAtK(1)
    metric.update(QUERY, TARGET, QUERY_IDS, ids_of([5, 6, 7, 8]))
    with pytest.raises(ValueError, match=r"No query \(2\) has the same example id as a target \(4\)"):
        metric.compute()
