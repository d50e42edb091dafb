"""The averages' kernel, held against powers one by one."""

import math

import pytest
import torch

from mmkit.models.mega.ema_kernel import averages_of, circular_kernel, ema_kernel


# Shapes: K kernels, N averages of a channel, L length.


@pytest.mark.parametrize("length", [1, 2, 3, 16, 17, 100])
def test_kernels_are_weighted_sums_of_powers(length: int) -> None:
    weight_KN = torch.randn(3, 4, dtype=torch.float64)
    q_KN = torch.rand(3, 4, dtype=torch.float64)
    steps_L = torch.arange(length)
    expected_KL = (weight_KN.unsqueeze(-1) * q_KN.unsqueeze(-1) ** steps_L).sum(1)
    torch.testing.assert_close(ema_kernel(weight_KN, q_KN.log(), length), expected_KL)


def test_decays_near_one_are_exact_in_float32() -> None:
    damping_KN1 = torch.full((1, 1, 1), -8.0)
    averages = averages_of(damping_KN1, damping_KN1, torch.ones(1, 1, 1), torch.ones(1, 1))
    p = 1 / (1 + math.exp(8.0))
    assert averages.log_q_KN.item() == pytest.approx(math.log1p(-p * p), rel=1e-5)


def test_the_projection_is_scaled_by_the_number_of_averages() -> None:
    zeros_KN1 = torch.zeros(2, 4, 1)
    averages = averages_of(zeros_KN1, zeros_KN1, torch.ones(2, 4, 1), torch.ones(2, 4))
    torch.testing.assert_close(averages.kernel(3), torch.tensor([[1.0, 0.75, 0.5625]] * 2))  # 4 · 1/2 · 1/√4 · (3/4)^l


def test_a_circle_has_the_past_first_and_the_future_last() -> None:
    past_DT, future_DT = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 20.0, 30.0]])
    assert circular_kernel(past_DT, future_DT, 7).tolist() == [[11, 2, 3, 0, 0, 30, 20]]
    assert circular_kernel(past_DT, None, 5).tolist() == [[1, 2, 3, 0, 0]]


def test_long_kernels_need_little_beyond_themselves() -> None:
    """Two levels of powers: square roots of the length, not the length times the averages."""
    kept = []
    weight_KN = torch.rand(2, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: kept.append(saved.numel()) or saved, lambda saved: saved):
        ema_kernel(weight_KN, weight_KN.log(), 4096)
    assert sum(kept) < 2 * 4096 * 16 / 8
