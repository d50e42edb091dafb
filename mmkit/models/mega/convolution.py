"""Convolution with a kernel that ends (truncation), through the FFT: one circular convolution for one direction or for both."""

from typing import Any

import torch
from torch import Tensor
from torch.fft import irfft, rfft

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
    size = smooth_length(x_BLD.shape[1] + past_DT.shape[-1] - 1)
    return circular_convolution(x_BLD, circular_kernel(past_DT, future_DT, size))


@torch.library.custom_op("mmkit::circular_convolution", mutates_args=())
def circular_convolution(x_BLD: Tensor, kernel_Dn: Tensor) -> Tensor:
    """Convolve on a circle of n places, of which x fills the first L; the result's first L.

    An operator of its own, because torch.compile makes no code for complex numbers, and autograd's backward of a real transform
    is a complex one of twice the work.
    """
    size = kernel_Dn.shape[-1]
    return _positions_first(irfft(_spectra(x_BLD, size) * rfft(kernel_Dn), n=size), x_BLD.shape[1])


@torch.library.custom_op("mmkit::circular_convolution_backward", mutates_args=())
def circular_convolution_backward(dy_BLD: Tensor, x_BLD: Tensor, kernel_Dn: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of both inputs: correlations, which are convolutions with conjugate spectra.

    The conjugates are computed at once: the lazy ones of ``conj()`` are not resolved in an operator that compiled code calls.
    """
    size = kernel_Dn.shape[-1]
    dy_BDf = _spectra(dy_BLD, size)
    dkernel_Dn = irfft((dy_BDf * _spectra(x_BLD, size).conj_physical()).sum(0), n=size)
    return _positions_first(irfft(dy_BDf * rfft(kernel_Dn).conj_physical(), n=size), x_BLD.shape[1]), dkernel_Dn


@circular_convolution.register_fake
def _(x_BLD: Tensor, kernel_Dn: Tensor) -> Tensor:
    return x_BLD.new_empty(x_BLD.shape)


@circular_convolution_backward.register_fake
def _(dy_BLD: Tensor, x_BLD: Tensor, kernel_Dn: Tensor) -> tuple[Tensor, Tensor]:
    return dy_BLD.new_empty(dy_BLD.shape), kernel_Dn.new_empty(kernel_Dn.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, dy_BLD: Tensor) -> tuple[Tensor, Tensor]:
    return circular_convolution_backward(dy_BLD, *ctx.saved_tensors)


circular_convolution.register_autograd(_gradients, setup_context=_keep)


def smooth_length(minimum: int) -> int:
    """The least even 2^a 3^b 5^c that is not below ``minimum``: lengths that the FFT is fast for."""
    odd = [3**b * 5**c for b in range(minimum.bit_length()) for c in range(minimum.bit_length())]
    return min(factor * _even_power(-(-minimum // factor)) for factor in odd)


def _even_power(minimum: int) -> int:
    return 1 << max(minimum - 1, 1).bit_length()


def _spectra(x_BLD: Tensor, size: int) -> Tensor:
    return rfft(x_BLD.transpose(1, 2), n=size)


def _positions_first(x_BDn: Tensor, length: int) -> Tensor:
    return x_BDn[..., :length].transpose(1, 2).contiguous()
