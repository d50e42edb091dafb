"""Weights from scores."""

import math

import pytest
import torch

from mmkit.models.mega.attention_functions import attention_weights, laplace, masked_softmax, relu2


def test_laplace_is_the_normal_distribution_function_of_the_paper() -> None:
    deviation = math.sqrt(1 / (4 * math.pi))
    for x in (-1.0, 0.0, 0.3, 0.7071, 2.0):
        expected = 0.5 * (1 + math.erf((x - math.sqrt(0.5)) / (deviation * math.sqrt(2))))
        assert laplace(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expected, abs=1e-15)


def test_laplace_touches_relu2_where_the_paper_says() -> None:
    x = torch.tensor(math.sqrt(0.5), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(laplace(x), x)
    assert laplace(x).item() == pytest.approx(relu2(x).item())
    assert slope.item() == pytest.approx(2 * x.item())


def test_masked_softmax_normalises_over_what_is_visible() -> None:
    weights = masked_softmax(torch.tensor([[1.0, 2.0, 50.0]]), torch.tensor([[True, True, False]]))
    first = 1 / (1 + math.e)
    torch.testing.assert_close(weights, torch.tensor([[first, 1 - first, 0.0]]))


@pytest.mark.parametrize("activation", ["softmax", "laplace", "relu2"])
def test_a_row_that_sees_nothing_weighs_zero_and_has_a_zero_gradient(activation: str) -> None:
    scores = torch.randn(2, 3, requires_grad=True)
    weights = attention_weights(scores, activation, torch.tensor([[True, False, True], [False, False, False]]))
    weights.square().sum().backward()
    assert weights[1].eq(0).all()
    assert weights[0, 1] == 0
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert scores.grad[1].eq(0).all()
