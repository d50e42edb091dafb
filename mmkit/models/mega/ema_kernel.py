"""Coefficients of the damped EMA and its convolution kernel (Mega, https://arxiv.org/abs/2209.10655, section 3.2).

Every channel is expanded to N hidden ones, each a damped exponential moving average:

    h_t = p β x_t + q h_{t-1},  q = 1 - p a,  y_t = γ · h_t / √N,

with p = σ(damping factor), a = σ(decay factor), β the expansion and γ the projection. Unrolled, y is x convolved with the kernel
k_l = Σ_n γ_n p_n β_n q_n^l / √N.
"""

import math

import torch
from torch import Tensor


# Shapes: K kernels (channels times directions), N hidden averages of a channel, L length, A·S >= L coarse times fine.


def ema_coefficients(damping_KN1: Tensor, decay_KN1: Tensor) -> tuple[Tensor, Tensor]:
    """The input's weight p and the logarithm of the decay q = 1 - p a, both (K, N)."""
    p_KN = damping_KN1.squeeze(-1).sigmoid()
    # log1p keeps what 1 - p a rounds away when the average is slow: with p a = 1e-7, fp32 has q = 1 - 1.2e-7
    return p_KN, torch.log1p(-p_KN * decay_KN1.squeeze(-1).sigmoid())


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
