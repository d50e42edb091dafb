import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.tasks.running_mean import RunningMeans


@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 9)), min_size=1, max_size=8))
def test_means_are_weighted(steps):
    means = RunningMeans()
    for value, weight in steps:
        means.update({"loss": torch.tensor(value, dtype=torch.float64)}, weight)
    values, weights = np.array(steps, dtype=np.float64).T
    np.testing.assert_allclose(means.pop()["loss"], np.average(values, weights=weights), atol=1e-5)


def test_values_of_weight_zero_have_no_mean():
    means = RunningMeans()
    assert not means
    means.update({"loss": torch.tensor(3.0)}, weight=0)
    assert not means
    assert means.pop() == {}


def test_means_of_parts_are_the_mean_of_all():
    whole, part = RunningMeans(), RunningMeans()
    part.update({"loss": torch.tensor(1.0)}, weight=1)
    whole.add(part)
    part.pop()
    part.update({"loss": torch.tensor(4.0)}, weight=2)
    whole.add(part)
    assert whole.pop() == {"loss": 3.0}


def test_values_are_detached():
    means = RunningMeans()
    means.update({"loss": torch.ones((), requires_grad=True)})
    assert means.pop() == {"loss": 1.0}


def test_means_go_on_from_a_saved_state():
    straight, first = RunningMeans(), RunningMeans()
    for number in range(3):
        straight.update({"loss": torch.tensor(number * 0.1)}, weight=number + 1)
        first.update({"loss": torch.tensor(number * 0.1)}, weight=number + 1)
    resumed = RunningMeans()
    resumed.load_state_dict(first.state_dict())
    for means in (straight, resumed):
        means.update({"loss": torch.tensor(5.0), "other": torch.tensor(1.0)})
    assert straight.pop() == resumed.pop()
