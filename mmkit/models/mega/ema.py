"""Multi-dimensional damped EMA (Mega, https://arxiv.org/abs/2209.10655, section 3.2): what mixes positions before attention."""

import math
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from mmkit.models.mega.convolution import convolve
from mmkit.models.mega.ema_kernel import ema_coefficients, ema_kernel
from mmkit.models.mega.scan import ema_scan


# Shapes: B batch, L positions, D hidden_size, N ema_projection_size, K = 2 D when bidirectional, else D, T truncation.


class MultiHeadEMA(nn.Module):
    """Mix every channel over time by N learned averages: y = silu(conv(x) + ω x).

    Parameters and inputs of half precision are computed with, and states are kept, in fp32 (fp64 in fp64).

    Args:
        config: Has ``hidden_size``, ``ema_projection_size``, ``bidirectional``, ``truncation``, and ranges of initial values.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.hidden_size: int = config.hidden_size
        self.projection_size: int = config.ema_projection_size
        self.bidirectional: bool = config.bidirectional
        self.truncation: int | None = config.truncation
        self.scale = 1 / math.sqrt(self.projection_size)
        self.initial_ranges = (config.ema_delta_alpha_range, config.ema_beta_range, config.ema_gamma_omega_range)
        kernels = 2 * self.hidden_size if self.bidirectional else self.hidden_size
        self.damping_factor = nn.Parameter(torch.empty(kernels, self.projection_size, 1))
        self.decay_factor = nn.Parameter(torch.empty(kernels, self.projection_size, 1))
        self.ema_expansion_matrix = nn.Parameter(torch.empty(kernels, self.projection_size, 1))
        self.kernel_projection_matrix = nn.Parameter(torch.empty(kernels, self.projection_size))
        self.residual_weight = nn.Parameter(torch.empty(self.hidden_size))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new values: δ, α, γ and ω around zero, β around 1, -1, 1, … of the N averages, as the authors do."""
        delta_alpha, beta, gamma_omega = self.initial_ranges
        init.normal_(self.damping_factor, std=delta_alpha)
        init.normal_(self.decay_factor, std=delta_alpha)
        init.normal_(self.kernel_projection_matrix, std=gamma_omega)
        init.normal_(self.residual_weight, std=gamma_omega)
        signs_N1 = torch.ones_like(self.ema_expansion_matrix[0])
        signs_N1[1::2] = -1.0
        init.copy_(self.ema_expansion_matrix, signs_N1 + beta * torch.randn_like(self.ema_expansion_matrix))

    def no_weight_decay(self) -> set[str]:
        """Decays and weights of the averages are no weight matrices: drawing them to zero would change how far they see."""
        return {"damping_factor", "decay_factor", "ema_expansion_matrix", "kernel_projection_matrix", "residual_weight"}

    def forward(
        self, x_BLD: Tensor, mask_BL: Tensor | None = None, state: Tensor | None = None, return_state: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Average over time, both ways if bidirectional.

        Args:
            x_BLD: The sequences, L >= 1.
            mask_BL: True = real. A padded position is a zero input: it adds nothing to any other, while the averages go on
                decaying over it. So padding belongs on the left of what a state continues.
            state: What ``return_state`` gave for the positions before these; None at the start.
            return_state: Give the state after the last position too. It is (B, D, N), or with a truncation of T positions the
                last T - 1 inputs, (B, T - 1, D).

        Raises:
            ValueError: A state is given to or asked of the bidirectional average, whose results wait for the sequence's end.
        """
        if self.bidirectional and (return_state or state is not None):
            raise ValueError("A bidirectional EMA has no state to go on from. Build the model with bidirectional=False for that.")
        dtype = torch.float64 if torch.float64 in (x_BLD.dtype, self.residual_weight.dtype) else torch.float32
        with _without_autocast(x_BLD.device.type):
            inputs_BLD = x_BLD.to(dtype)
            residual_BLD = inputs_BLD * self.residual_weight.to(dtype)
            if mask_BL is not None:
                inputs_BLD = inputs_BLD.masked_fill(~mask_BL.unsqueeze(-1), 0.0)
            y_BLD, state = self._average(inputs_BLD, state, return_state)
            return F.silu(y_BLD + residual_BLD).to(x_BLD.dtype), state

    def _average(self, x_BLD: Tensor, state: Tensor | None, return_state: bool) -> tuple[Tensor, Tensor | None]:
        log_q_KN, into_KN, out_KN = self._weights(x_BLD.dtype)
        if self.truncation is not None and not self.bidirectional:
            return self._truncated(x_BLD, ema_kernel(into_KN * out_KN, log_q_KN, self.truncation), state, return_state)
        if self.bidirectional:
            taps = x_BLD.shape[1] if self.truncation is None else min(self.truncation, x_BLD.shape[1])
            return convolve(x_BLD, *ema_kernel(into_KN * out_KN, log_q_KN, taps).chunk(2)), None
        if x_BLD.shape[1] == 1:
            y_BLD, state = _one_step(x_BLD, log_q_KN, into_KN, out_KN, state)
        else:
            y_BLD, state = ema_scan(x_BLD, log_q_KN, into_KN, out_KN, state)
        return y_BLD, state if return_state else None

    def kernel(self, length: int) -> Tensor:
        """The first ``length`` weights of the convolution, (K, length): the past's, then the future's if bidirectional."""
        log_q_KN, into_KN, out_KN = self._weights(self.damping_factor.dtype)
        return ema_kernel(into_KN * out_KN, log_q_KN, length)

    def _weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Log q, p β and γ / √N, all (K, N)."""
        p_KN, log_q_KN = ema_coefficients(self.damping_factor.to(dtype), self.decay_factor.to(dtype))
        into_KN = p_KN * self.ema_expansion_matrix.to(dtype).squeeze(-1)
        return log_q_KN, into_KN, self.kernel_projection_matrix.to(dtype) * self.scale

    def _truncated(
        self, x_BLD: Tensor, kernel_DT: Tensor, state_BTD: Tensor | None, return_state: bool
    ) -> tuple[Tensor, Tensor | None]:
        """A kernel that ends needs the inputs that it still reaches, not the averages: these never forget."""
        length, reach = x_BLD.shape[1], kernel_DT.shape[-1] - 1
        if state_BTD is not None:
            x_BLD = torch.cat([state_BTD, x_BLD], dim=1)
        y_BLD = convolve(x_BLD, kernel_DT)[:, -length:]
        if not return_state:
            return y_BLD, None
        x_BLD = F.pad(x_BLD, (0, 0, max(reach - x_BLD.shape[1], 0), 0))  # before the start come zeros
        return y_BLD, x_BLD[:, x_BLD.shape[1] - reach :]


def _one_step(
    x_B1D: Tensor, log_q_DN: Tensor, into_DN: Tensor, out_DN: Tensor, state_BDN: Tensor | None
) -> tuple[Tensor, Tensor]:
    new_BDN = x_B1D.transpose(1, 2) * into_DN
    if state_BDN is not None:
        new_BDN = torch.addcmul(new_BDN, state_BDN, log_q_DN.exp())
    return (new_BDN * out_DN).sum(-1).unsqueeze(1), new_BDN


def _without_autocast(device_type: str) -> Any:
    """bfloat16 has no digits for decays near one."""
    return torch.autocast(device_type, enabled=False) if torch.amp.is_autocast_available(device_type) else nullcontext()
