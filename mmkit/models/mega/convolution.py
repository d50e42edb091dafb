"""Convolution with a kernel that ends (truncation), through the FFT: one circular convolution for one direction or for both."""

import torch
from torch import Tensor

from mmkit.models.mega.ema_kernel import circular_kernel


# Shapes: B batch, L positions, D channels, T taps of a kernel, n length of the transform, f its frequencies.


def convolve(x_BLD: Tensor, past_DT: Tensor, future_DT: Tensor | None = None) -> Tensor:
    """Σ_l past_l x_{t-l} + Σ_l future_l x_{t+l}, (B, L, D).

    With a circle of n >= L + T - 1 places, nothing that wraps around reaches the L results.

    Args:
        x_BLD: The sequences.
        past_DT: Weights of what came l = 0, 1, … positions before, at most L of them.
        future_DT: Weights of what comes l positions after; None for a causal convolution.
    """
    length = x_BLD.shape[1]
    size = smooth_length(length + past_DT.shape[-1] - 1)
    kernel_Df = torch.fft.rfft(circular_kernel(past_DT, future_DT, size))
    x_BDf = torch.fft.rfft(x_BLD.transpose(1, 2), n=size)
    return torch.fft.irfft(x_BDf * kernel_Df, n=size)[..., :length].transpose(1, 2)


def smooth_length(minimum: int) -> int:
    """The least even 2^a 3^b 5^c that is not below ``minimum``: lengths that the FFT is fast for."""
    odd = [3**b * 5**c for b in range(minimum.bit_length()) for c in range(minimum.bit_length())]
    return min(factor * _even_power(-(-minimum // factor)) for factor in odd)


def _even_power(minimum: int) -> int:
    return 1 << max(minimum - 1, 1).bit_length()
