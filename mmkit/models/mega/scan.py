"""The causal damped EMA in chunks: a small Toeplitz product inside each, a scan of states from one to the next.

With chunks of S positions the work is O(L (S + N)) a channel and nothing is as large as the kernel of the whole sequence. The
state after the last position falls out of it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.models.mega.ema_kernel import powers


# Shapes: B batch, L positions, D channels, N hidden averages of a channel, A chunks of S positions.
CHUNK = 64  # measured on a CPU for L = 2048 and 8192: 32 and 128 take 1.1 to 1.3 times as long


def ema_scan(x_BLD: Tensor, log_q_DN: Tensor, into_DN: Tensor, out_DN: Tensor, state_BDN: Tensor | None) -> tuple[Tensor, Tensor]:
    """y_t = out · h_t with h_t = into x_t + q h_{t-1}, and the last h.

    Args:
        x_BLD: The sequences, L >= 1.
        log_q_DN: Logarithm of the decay q.
        into_DN: Weights of the input in the hidden averages, p β.
        out_DN: Weights of the hidden averages in the output, γ / √N.
        state_BDN: h before the first position; None for zeros.

    Returns:
        ``y_BLD`` and ``h`` after the last position, (B, D, N).
    """
    batch, length, channels = x_BLD.shape
    size = min(CHUNK, length)
    chunks = -(-length // size)
    x_DAS = F.pad(x_BLD.permute(2, 0, 1), (0, chunks * size - length)).reshape(channels, batch * chunks, size)
    powers_DSN = powers(log_q_DN, size + 1)
    to_end_DSN = powers_DSN[:, :-1].flip(1) * into_DN.unsqueeze(1)
    from_start_DSN = powers_DSN[:, 1:] * out_DN.unsqueeze(1)
    kernel_DS = torch.bmm(powers_DSN[:, :-1], (into_DN * out_DN).unsqueeze(-1)).squeeze(-1)

    ends_DBAN = torch.bmm(x_DAS, to_end_DSN).view(channels, batch, chunks, -1)
    if state_BDN is None:
        state_BDN = x_BLD.new_zeros(batch, channels, log_q_DN.shape[-1])
    starts_DBAN = scan_states(ends_DBAN, powers_DSN[:, -1], state_BDN.transpose(0, 1))
    y_DAS = torch.bmm(x_DAS, toeplitz(kernel_DS).transpose(1, 2))
    y_DAS = torch.baddbmm(y_DAS, starts_DBAN.flatten(1, 2), from_start_DSN.transpose(1, 2))

    rest = length - (chunks - 1) * size
    last_DBS = x_DAS.view(channels, batch, chunks, size)[:, :, -1, :rest]
    end_DBN = torch.bmm(last_DBS, to_end_DSN[:, size - rest :]) + starts_DBAN[:, :, -1] * powers_DSN[:, rest].unsqueeze(1)
    return y_DAS.view(channels, batch, -1)[..., :length].permute(1, 2, 0), end_DBN.transpose(0, 1)


def toeplitz(kernel_DS: Tensor) -> Tensor:
    """The lower triangular matrices with ``kernel[i - j]`` at (i, j), (D, S, S)."""
    size = kernel_DS.shape[-1]
    # rows of 2 S numbers read as rows of 2 S - 1: each starts one place later than the row above
    row_D2S = torch.cat([kernel_DS[:, :1], torch.zeros_like(kernel_DS), kernel_DS[:, 1:].flip(-1)], dim=-1)
    rows_Dn = row_D2S.unsqueeze(1).expand(-1, size, -1).flatten(1)[:, : size * (2 * size - 1)]
    return rows_Dn.view(-1, size, 2 * size - 1)[..., :size]


def scan_states(ends_DBAN: Tensor, decay_DN: Tensor, state_DBN: Tensor) -> Tensor:
    """The states before each chunk, from what each chunk adds: s_0 = state, s_{a+1} = decay s_a + ends_a, (D, B, A, N)."""
    states, state_DBN = [state_DBN], state_DBN
    for ends_DBN in ends_DBAN.unbind(2)[:-1]:
        state_DBN = torch.addcmul(ends_DBN, state_DBN, decay_DN.unsqueeze(1))
        states.append(state_DBN)
    return torch.stack(states, dim=2)
