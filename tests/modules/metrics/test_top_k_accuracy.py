import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.modules.metrics import TopKAccuracy


@given(st.integers(2, 4), st.integers(1, 12), st.integers(0, 100))
def test_accuracies_are_those_of_a_naive_loop(num_classes, num_examples, seed):
    rng = np.random.default_rng(seed)
    scores, classes = rng.integers(0, 4, (num_examples, num_classes)), rng.integers(0, num_classes, num_examples)
    accuracy = TopKAccuracy(num_classes, [1, 2])
    for rows in (slice(0, 1), slice(1, None)):
        accuracy.update(torch.tensor(scores[rows], dtype=torch.float32), torch.tensor(classes[rows]))
    places = [sum(row >= row[right]) for row, right in zip(scores, classes, strict=True)]  # a tie counts against the right class
    hits = {k: np.array([place <= k for place in places]) for k in (1, 2)}
    values = {name: value.item() for name, value in accuracy.compute().items()}
    assert values == {
        "top1_accuracy": pytest.approx(hits[1].mean()),
        "top2_accuracy": pytest.approx(hits[2].mean()),
        "macro_accuracy": pytest.approx(np.mean([hits[1][classes == c].mean() for c in np.unique(classes)])),
    }


def test_scores_of_nan_are_never_right():
    accuracy = TopKAccuracy(2)
    accuracy.update(torch.full((2, 2), torch.nan), torch.tensor([0, 1]))
    assert accuracy.compute()["top1_accuracy"] == 0


def test_k_above_the_number_of_classes_is_left_out():
    accuracy = TopKAccuracy(2, [2, 5])
    accuracy.update(torch.eye(2), torch.tensor([0, 0]))
    assert {name: value.item() for name, value in accuracy.compute().items()} == {"top2_accuracy": 1, "macro_accuracy": 0.5}


def test_counts_follow_the_module_and_are_summed_over_ranks():
    module = torch.nn.ModuleDict({"accuracy": TopKAccuracy(2)}).to("meta")
    assert module["accuracy"].hits_KC.device.type == "meta"
    assert {fx.__name__ for fx in module["accuracy"]._reductions.values()} == {"dim_zero_sum"}


@pytest.mark.parametrize(("num_classes", "top_k"), [(0, [1]), (3, []), (3, [0])], ids=["no class", "no k", "zero"])
def test_useless_numbers_are_errors(num_classes, top_k):
    with pytest.raises(ValueError, match="must be at least 1"):
        TopKAccuracy(num_classes, top_k)
