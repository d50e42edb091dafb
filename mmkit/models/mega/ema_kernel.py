"""The averages' coefficients and the convolution kernel that they make (Mega, https://arxiv.org/abs/2209.10655).

Every channel is expanded to N hidden ones, each a damped exponential moving average:

    h_t = p β x_t + q h_{t-1},  q = 1 - p a,  y_t = γ · h_t / √N,

with p = σ(damping factor), a = σ(decay factor), β the expansion and γ the projection. Unrolled, y is x convolved with the kernel
k_l = Σ_n γ_n p_n β_n q_n^l / √N.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


# Shapes: K kernels (channels times directions), D channels, N hidden averages of a channel, L length.


class Averages(NamedTuple):
    """What h_t = into x_t + q h_{t-1}, y_t = out · h_t needs.

    Attributes:
        log_q_KN: Logarithm of the decay q.
        into_KN: Weights of the input in the averages, p β.
        out_KN: Weights of the averages in the output, γ / √N.
    """

    log_q_KN: Tensor
    into_KN: Tensor
    out_KN: Tensor

    def kernel(self, length: int) -> Tensor:
        """The first ``length`` weights of the convolution, (K, length)."""
        return ema_kernel(self.into_KN * self.out_KN, self.log_q_KN, length)

    def directions(self) -> tuple["Averages", "Averages"]:
        """Those over the past and those over the future, (D, N) each: halves of a bidirectional module's."""
        past, future = zip(*(values_KN.chunk(2) for values_KN in self), strict=True)
        return Averages(*past), Averages(*future)


def averages_of(damping_KN1: Tensor, decay_KN1: Tensor, expansion_KN1: Tensor, projection_KN: Tensor) -> Averages:
    """The averages that a module's parameters stand for."""
    p_KN = damping_KN1.squeeze(-1).sigmoid()
    # log1p keeps what 1 - p a rounds away when an average is slow: with p a = 1e-7, fp32 has q = 1 - 1.2e-7
    log_q_KN = torch.log1p(-p_KN * decay_KN1.squeeze(-1).sigmoid())
    return Averages(log_q_KN, p_KN * expansion_KN1.squeeze(-1), projection_KN / math.sqrt(projection_KN.shape[-1]))


def powers(log_q_KN: Tensor, length: int, stride: int = 1) -> Tensor:
    """q^0, q^stride, …, q^(stride (length - 1)) as (K, length, N)."""
    steps_L1 = torch.arange(0, length * stride, stride, device=log_q_KN.device, dtype=log_q_KN.dtype).unsqueeze(-1)
    return torch.exp(steps_L1 * log_q_KN.unsqueeze(-2))


def ema_kernel(weight_KN: Tensor, log_q_KN: Tensor, length: int) -> Tensor:
    """The kernel Σ_n weight_n q_n^l for l < length, (K, length).

    A Vandermonde product in two levels, q^(aS + b) = q^(aS) q^b: one batched matrix product of O(K N √L) numbers takes the place
    of the O(K N L) powers.
    """
    fine = 1 << math.ceil(math.log2(max(length, 1)) / 2)
    coarse = -(-length // fine)
    coarse_KAN = powers(log_q_KN, coarse, fine) * weight_KN.unsqueeze(-2)
    return torch.bmm(coarse_KAN, powers(log_q_KN, fine).transpose(-1, -2)).flatten(-2)[:, :length]


def circular_kernel(past_DT: Tensor, future_DT: Tensor | None, size: int) -> Tensor:
    """Both directions as one kernel of a circle, (D, size): lag l into the past at place l, l into the future at size - l."""
    channels, taps = past_DT.shape
    if future_DT is None:
        return torch.nn.functional.pad(past_DT, (0, size - taps))
    gap = past_DT.new_zeros(channels, size - 2 * taps + 1)
    present_D1 = past_DT[:, :1] + future_DT[:, :1]  # both directions see the position itself
    return torch.cat([present_D1, past_DT[:, 1:], gap, future_DT[:, 1:].flip(-1)], dim=-1)
