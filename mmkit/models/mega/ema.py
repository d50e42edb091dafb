"""Multi-dimensional damped EMA (Mega, https://arxiv.org/abs/2209.10655): what mixes positions before attention."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from mmkit.models.mega.convolution import convolve
from mmkit.models.mega.ema_kernel import Averages, averages_of
from mmkit.models.mega.precision import without_autocast
from mmkit.models.mega.scan import average_in_chunks


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
        with without_autocast(x_BLD.device.type):
            inputs_BLD = x_BLD.to(dtype)
            masked_BLD = inputs_BLD if mask_BL is None else inputs_BLD.masked_fill(~mask_BL.unsqueeze(-1), 0.0)
            y_BLD, state = self._average(masked_BLD, self._averages(dtype), state, return_state)
            y_BLD = F.silu(torch.addcmul(y_BLD, inputs_BLD, self.residual_weight.to(dtype)))
        return y_BLD.to(x_BLD.dtype), state if return_state else None

    def kernel(self, length: int) -> Tensor:
        """The first ``length`` weights of the convolution, (K, length): the past's, then the future's if bidirectional."""
        with without_autocast(self.damping_factor.device.type):
            return self._averages(self.damping_factor.dtype).kernel(length)

    def _averages(self, dtype: torch.dtype) -> Averages:
        parameters = (self.damping_factor, self.decay_factor, self.ema_expansion_matrix, self.kernel_projection_matrix)
        return averages_of(*(parameter.to(dtype) for parameter in parameters))

    def _average(
        self, x_BLD: Tensor, averages: Averages, state: Tensor | None, return_state: bool
    ) -> tuple[Tensor, Tensor | None]:
        past, future = averages.directions() if self.bidirectional else (averages, None)
        if self.truncation is not None:
            return _truncated_average(x_BLD, past, future, self.truncation, state, return_state)
        if x_BLD.shape[1] == 1 and future is None:
            return _one_step(x_BLD, past, state)
        return average_in_chunks(x_BLD, past, future, state, return_state)


def _one_step(x_B1D: Tensor, averages: Averages, state_BDN: Tensor | None) -> tuple[Tensor, Tensor]:
    new_BDN = x_B1D.transpose(1, 2) * averages.into_KN
    if state_BDN is not None:
        new_BDN = torch.addcmul(new_BDN, state_BDN, averages.log_q_KN.exp())
    return (new_BDN * averages.out_KN).sum(-1).unsqueeze(1), new_BDN


def _truncated_average(
    x_BLD: Tensor, past: Averages, future: Averages | None, truncation: int, state_BTD: Tensor | None, return_state: bool
) -> tuple[Tensor, Tensor | None]:
    """A kernel that ends needs the last T - 1 inputs, which it still reaches, and not the averages, which never forget."""
    new = x_BLD.shape[1]
    if state_BTD is not None:
        x_BLD = torch.cat([state_BTD, x_BLD], dim=1)
    taps = min(truncation, x_BLD.shape[1])
    y_BLD = convolve(x_BLD, past.kernel(taps), None if future is None else future.kernel(taps))[:, -new:]
    if not return_state:
        return y_BLD, None
    x_BLD = F.pad(x_BLD, (0, 0, max(truncation - 1 - x_BLD.shape[1], 0), 0))  # before the start come zeros
    return y_BLD, x_BLD[:, x_BLD.shape[1] - (truncation - 1) :]
