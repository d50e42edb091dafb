"""Convolutions through the FFT, held against sums."""

import pytest
import torch
from torch import Tensor

from mmkit.models.mega.convolution import convolve, smooth_length


# Shapes: B batch, L positions, D channels, T taps.
GIVEN = [pytest.param(7, 7, id="all taps"), pytest.param(7, 1, id="one tap"), pytest.param(1, 1, id="one position"), (12, 5)]


def by_sums(x_BLD: Tensor, past_DT: Tensor, future_DT: Tensor | None) -> Tensor:
    """Each result summed up lag by lag."""
    length, y_BLD = x_BLD.shape[1], torch.zeros_like(x_BLD)
    for t in range(length):
        for lag in range(past_DT.shape[1]):
            if t - lag >= 0:
                y_BLD[:, t] += past_DT[:, lag] * x_BLD[:, t - lag]
            if future_DT is not None and t + lag < length:
                y_BLD[:, t] += future_DT[:, lag] * x_BLD[:, t + lag]
    return y_BLD


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_()


@pytest.mark.parametrize(("length", "taps"), GIVEN)
@pytest.mark.parametrize("is_causal", [True, False])
def test_convolutions_are_sums_over_lags(length: int, taps: int, is_causal: bool) -> None:
    x_BLD, past_DT, future_DT = random(2, length, 3), random(3, taps), None if is_causal else random(3, taps)
    torch.testing.assert_close(convolve(x_BLD, past_DT, future_DT), by_sums(x_BLD, past_DT, future_DT))


@pytest.mark.parametrize(("length", "taps"), GIVEN)
@pytest.mark.parametrize("is_causal", [True, False])
def test_gradients_are_those_of_the_sums(length: int, taps: int, is_causal: bool) -> None:
    x_BLD, past_DT, future_DT = random(2, length, 3), random(3, taps), None if is_causal else random(3, taps)
    wanted = [x_BLD, past_DT] + ([] if future_DT is None else [future_DT])
    direction_BLD = random(2, length, 3).detach()
    found = torch.autograd.grad(convolve(x_BLD, past_DT, future_DT), wanted, direction_BLD)
    expected = torch.autograd.grad(by_sums(x_BLD, past_DT, future_DT), wanted, direction_BLD)
    torch.testing.assert_close(found, expected)


def test_lengths_are_the_least_even_smooth_ones() -> None:
    smooth = sorted(2**a * 3**b * 5**c for a in range(1, 15) for b in range(9) for c in range(7))
    for minimum in [*range(1, 300), 4095, 4097, 8191, 10_001]:
        assert smooth_length(minimum) == next(length for length in smooth if length >= minimum)
