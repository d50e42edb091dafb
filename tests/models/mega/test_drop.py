"""Dropout with few draws."""

import pytest
import torch

from mmkit.models.mega.drop import drop


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_values_are_dropped_as_often_as_asked(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    factor = drop(torch.ones(1000, 1001, dtype=dtype), p)
    deviation = (p * (1 - p) / factor.numel()) ** 0.5
    assert factor.eq(0).double().mean().item() == pytest.approx(p, abs=5 * deviation + 2**-16)
    assert factor.double().max().item() == pytest.approx(1 / (1 - p), rel=1e-2 if dtype == torch.bfloat16 else 1e-4)


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = drop(torch.ones(10**6), 0.5).ne(0).double().view(-1, 8)
    correlation = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlation.abs().max() < 0.02


def test_gradients_pass_where_values_were_kept() -> None:
    x = torch.ones(50, 3, requires_grad=True)
    y = drop(x, 0.5)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_equal_seeds_drop_equal_values() -> None:
    x = torch.ones(100)
    torch.manual_seed(3)
    first = drop(x, 0.5)
    torch.manual_seed(3)
    assert drop(x, 0.5).equal(first)


def test_nothing_is_dropped_outside_training_and_all_at_probability_one() -> None:
    x = torch.ones(7)
    assert drop(x, 0.5, training=False) is x
    assert drop(x, 0.0) is x
    assert drop(x, 1.0).eq(0).all()
