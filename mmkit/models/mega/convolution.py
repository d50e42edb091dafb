"""Long convolutions through the FFT: one circular convolution, for one direction or for both."""

import torch
from torch import Tensor


# Shapes: B batch, L positions, D channels, T taps of a kernel, n length of the transform.


def smooth_length(minimum: int) -> int:
    """The least even 2^a 3^b 5^c that is not below ``minimum``: lengths that the FFT is fast for."""
    best = 1 << max(minimum - 1, 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            two = 1 << max(-(-minimum // three) - 1, 1).bit_length()
            best = min(best, three * two)
            three *= 3
        five *= 5
    return best


def convolve(x_BLD: Tensor, past_DT: Tensor, future_DT: Tensor | None = None) -> Tensor:
    """Σ_l past_l x_{t-l} + Σ_l future_l x_{t+l}, (B, L, D).

    Both directions are one circular kernel: lag l at place l, lag -l at place n - l. With n >= L + T - 1 nothing that wraps
    around reaches the L results.

    Args:
        x_BLD: The sequences.
        past_DT: Weights of what came l = 0, 1, … positions before; at most L count.
        future_DT: Weights of what comes l positions after; None for a causal convolution.
    """
    length = x_BLD.shape[1]
    taps = min(past_DT.shape[-1], length)
    size = smooth_length(length + taps - 1)
    kernel_Dn = _circular(past_DT[:, :taps], None if future_DT is None else future_DT[:, :taps], size)
    x_BDf = torch.fft.rfft(x_BLD.transpose(1, 2), n=size)
    y_BDn = torch.fft.irfft(x_BDf * torch.fft.rfft(kernel_Dn, n=size), n=size)
    return y_BDn[..., :length].transpose(1, 2)


def _circular(past_DT: Tensor, future_DT: Tensor | None, size: int) -> Tensor:
    if future_DT is None:
        return past_DT  # the transform pads it
    channels, taps = past_DT.shape
    gap = past_DT.new_zeros(channels, size - 2 * taps + 1)
    present_D1 = past_DT[:, :1] + future_DT[:, :1]  # both directions see the position itself
    return torch.cat([present_D1, past_DT[:, 1:], gap, future_DT[:, 1:].flip(-1)], dim=-1)
