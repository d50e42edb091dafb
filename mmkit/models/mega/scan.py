"""Averages in chunks: a small Toeplitz product inside each, states carried from one to the next.

A chunk of S positions costs O(S (S + N)) a channel and nothing is ever as large as the sequence's kernel. CPU time against the
FFT, forward and backward, one thread, 128 channels: half of it at L = 2048, a third at L = 8192, in both directions and in one,
and the last state falls out of it. So this is what every average without a truncation is made with.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.models.mega.chunked_average import chunked_average
from mmkit.models.mega.ema_kernel import Averages, circular_kernel, powers
from mmkit.models.mega.toeplitz import toeplitz


# Shapes: B batch, L positions, D channels, N averages of a channel and direction, M of both, S positions of a chunk, V = S + M.
CHUNK = 32  # measured at L = 2048 and 8192: with 64 it takes 1.0 to 1.4 times as long, with 128 2.5 times


def average_in_chunks(
    x_BLD: Tensor, past: Averages, future: Averages | None, state_BDN: Tensor | None, return_state: bool
) -> tuple[Tensor, Tensor | None]:
    """y_t = out · h_t with h_t = into x_t + q h_{t-1}; with averages over the future, theirs from the other end is added.

    Args:
        x_BLD: The sequences, L >= 1.
        past: Averages from the first position on, (D, N) each.
        future: Averages from the last position on.
        state_BDN: The past's h before the first position; None for zeros.
        return_state: Give the past's h after the last position too.
    """
    (batch, length, channels), size = x_BLD.shape, min(CHUNK, x_BLD.shape[1])
    powers_DSN = powers(past.log_q_KN, size + 1)
    mixing = _over_the_past(past, powers_DSN)
    if future is not None:
        mixing = Mixing(*(torch.cat(both, dim=-1) for both in zip(mixing, _over_the_future(future, size), strict=True)))
    circle_Dn = circular_kernel(past.kernel(size), None if future is None else future.kernel(size), 2 * size)
    mix_DVS = torch.cat([toeplitz(circle_Dn), mixing.starts_DSM.transpose(1, 2)], dim=1)
    if state_BDN is None:
        state_BDN = x_BLD.new_zeros(batch, channels, past.log_q_KN.shape[-1])
    y_BLD, start_DBN, _ = chunked_average(x_BLD, mixing.ends_DSM, mix_DVS, mixing.decay_DM, state_BDN.transpose(0, 1))
    if not return_state:
        return y_BLD, None
    rest = (length - 1) % size + 1  # the last chunk need not be full
    ends_DSN = mixing.ends_DSM[:, size - rest :, : past.log_q_KN.shape[-1]]
    added_DBN = torch.bmm(x_BLD[:, length - rest :].permute(2, 0, 1), ends_DSN)
    return y_BLD, torch.addcmul(added_DBN, start_DBN, powers_DSN[:, rest].unsqueeze(1)).transpose(0, 1)


class Mixing(NamedTuple):
    """How chunks meet each other.

    Attributes:
        ends_DSM: What a position of a chunk adds to the average that the chunk hands on.
        starts_DSM: What the average that a chunk is handed adds to its results.
        decay_DM: What is left of an average after a chunk.
    """

    ends_DSM: Tensor
    starts_DSM: Tensor
    decay_DM: Tensor


def _over_the_past(past: Averages, powers_DSN: Tensor) -> Mixing:
    ends_DSN = powers_DSN[:, :-1].flip(1) * past.into_KN.unsqueeze(1)
    return Mixing(ends_DSN, powers_DSN[:, 1:] * past.out_KN.unsqueeze(1), powers_DSN[:, -1])


def _over_the_future(future: Averages, size: int) -> Mixing:
    powers_DSN = powers(future.log_q_KN, size + 1)
    ends_DSN = powers_DSN[:, :-1] * future.into_KN.unsqueeze(1)
    return Mixing(ends_DSN, powers_DSN[:, 1:].flip(1) * future.out_KN.unsqueeze(1), powers_DSN[:, -1])
