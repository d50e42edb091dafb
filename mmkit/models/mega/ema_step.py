"""One step of the moving average while a text is decoded (arXiv 2209.10655, multi-dimensional damped EMA)."""

# Shapes: B batch, D hidden size, N averages of a channel.
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.models.mega.ema import MultiHeadEMA
from mmkit.models.mega.ema_kernel import averages_of


class EmaStep:
    """The moving average's weights, worked out once for a cache.

    They belong to one cache: like its state, they stem from the parameters of when they were made.
    """

    def __init__(self) -> None:
        self.weights: tuple[Tensor, ...] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __call__(self, ema: MultiHeadEMA, x_B1D: Tensor, mask_B1: Tensor | None, state_BDN: Tensor) -> tuple[Tensor, Tensor]:
        """What ``ema`` gives for one position after ``state_BDN``, in few operations."""
        if self.weights is None:
            self.weights = _weights(ema, state_BDN.dtype)
        decay_DN, into_DN, out_DN, residual_D = self.weights
        wide_B1D = x_B1D.to(state_BDN.dtype)
        masked_B1D = wide_B1D if mask_B1 is None else wide_B1D * mask_B1.unsqueeze(-1)
        state_BDN = torch.addcmul(masked_B1D.transpose(1, 2) * into_DN, state_BDN, decay_DN)
        y_BD = torch.linalg.vecdot(state_BDN, out_DN)
        return F.silu(torch.addcmul(y_BD.unsqueeze(1), wide_B1D, residual_D)).to(x_B1D.dtype), state_BDN


def can_step(ema: MultiHeadEMA, x_BLD: Tensor) -> bool:
    """Whether these inputs are one step: a truncated average has no such state, and gradients need the weights' own graph."""
    return x_BLD.shape[1] == 1 and ema.truncation is None and not torch.is_grad_enabled()


def _weights(ema: MultiHeadEMA, dtype: torch.dtype) -> tuple[Tensor, ...]:
    parameters = (ema.damping_factor, ema.decay_factor, ema.ema_expansion_matrix, ema.kernel_projection_matrix)
    log_q_DN, into_DN, out_DN = averages_of(*(parameter.to(dtype) for parameter in parameters))
    return log_q_DN.exp(), into_DN, out_DN, ema.residual_weight.to(dtype)
