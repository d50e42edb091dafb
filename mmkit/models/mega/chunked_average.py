"""Averages in chunks as an operator: matrix products inside each chunk, states carried from one to the next.

With the chunk's inputs x, the states c that it starts from, and one matrix W = [kernel; decays],

    y = [x, c] W,    ends = x E,    c_{a+1} = λ c_a + ends_a,

where the averages over the future are carried the other way. The backward is written out: autograd would keep and add up a tensor
for every step of the carrying, and transpose everything more often. An operator of its own, it is one node for torch.compile,
which would otherwise unroll the steps.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mmkit.models.mega.precision import without_autocast


# Shapes: B batch, L positions, D channels, A chunks of S positions, N averages over the past, M all averages, V = S + M.
BLOCK = 512  # positions that are transposed at a time: all at once leaves the cache, at L = 8192 in three times as long


@torch.library.custom_op("mmkit::chunked_average", mutates_args=())
def chunked_average(
    x_BLD: Tensor, ends_DSM: Tensor, mix_DVS: Tensor, decay_DM: Tensor, state_DBN: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Average ``x_BLD`` by E = ``ends_DSM``, W = ``mix_DVS`` and λ = ``decay_DM``; the past starts from ``state_DBN``.

    Returns:
        ``y_BLD``, the past's states ``start_DBN`` of the last chunk, and ``both_DBAV`` = [x, c] for the backward.
    """
    batch, length, channels = x_BLD.shape
    size, past = ends_DSM.shape[1], state_DBN.shape[-1]
    both_DBAV = x_BLD.new_empty(channels, batch, -(-length // size), mix_DVS.shape[1])
    x_DBAS, starts_DBAM = both_DBAV[..., :size], both_DBAV[..., size:]
    into_chunks(x_BLD, x_DBAS)
    ends_DBAM = _times(x_DBAS, ends_DSM)
    carry(ends_DBAM[..., :past], decay_DM[:, :past], starts_DBAM[..., :past], backwards=False, first_DBM=state_DBN)
    carry(ends_DBAM[..., past:], decay_DM[:, past:], starts_DBAM[..., past:], backwards=True)
    return from_chunks(_times(both_DBAV, mix_DVS), length), starts_DBAM[:, :, -1, :past].clone(), both_DBAV


@torch.library.custom_op("mmkit::chunked_average_backward", mutates_args=())
def chunked_average_backward(
    dy_BLD: Tensor, dlast_DBN: Tensor, both_DBAV: Tensor, ends_DSM: Tensor, mix_DVS: Tensor, decay_DM: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the five inputs of ``chunked_average``."""
    size, past = ends_DSM.shape[1], dlast_DBN.shape[-1]
    x_DBAS, starts_DBAM = both_DBAV[..., :size], both_DBAV[..., size:]
    dy_DBAS = torch.empty_like(x_DBAS, memory_format=torch.contiguous_format)
    into_chunks(dy_BLD, dy_DBAS)

    dstarts_DBAM = _times(dy_DBAS, mix_DVS[:, size:].transpose(1, 2))
    dstarts_DBAM[:, :, -1, :past] += dlast_DBN
    # what a chunk's end adds is seen by the starts after it, so gradients are carried against the averages
    dends_DBAM = torch.empty_like(dstarts_DBAM)
    carry(dstarts_DBAM[..., :past], decay_DM[:, :past], dends_DBAM[..., :past], backwards=True)
    carry(dstarts_DBAM[..., past:], decay_DM[:, past:], dends_DBAM[..., past:], backwards=False)

    dx_DBAS = _times(dy_DBAS, mix_DVS[:, :size].transpose(1, 2))
    dx_DBAS.flatten(1, 2).baddbmm_(dends_DBAM.flatten(1, 2), ends_DSM.transpose(1, 2))
    dstate_DBN = torch.addcmul(dstarts_DBAM[:, :, 0, :past], dends_DBAM[:, :, 0, :past], decay_DM[:, :past].unsqueeze(1))
    return (
        from_chunks(dx_DBAS, dy_BLD.shape[1]),
        _times_transposed(x_DBAS, dends_DBAM),
        _times_transposed(both_DBAV, dy_DBAS),
        (starts_DBAM * dends_DBAM).sum((1, 2)),
        dstate_DBN,
    )


@chunked_average.register_fake
def _(x_BLD: Tensor, ends_DSM: Tensor, mix_DVS: Tensor, decay_DM: Tensor, state_DBN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    (batch, length, channels), size = x_BLD.shape, ends_DSM.shape[1]
    both_DBAV = x_BLD.new_empty(channels, batch, -(-length // size), mix_DVS.shape[1])
    return x_BLD.new_empty(x_BLD.shape), x_BLD.new_empty(state_DBN.shape), both_DBAV


@chunked_average_backward.register_fake
def _(dy_BLD: Tensor, dlast_DBN: Tensor, _: Tensor, *matrices: Tensor) -> tuple[Tensor, ...]:
    return tuple(like.new_empty(like.shape) for like in (dy_BLD, *matrices, dlast_DBN))


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    _, start_DBN, both_DBAV = output
    ctx.mark_non_differentiable(both_DBAV)
    ctx.set_materialize_grads(False)
    ctx.shape = inputs[0].shape
    ctx.save_for_backward(start_DBN, both_DBAV, *inputs[1:4])


def _gradients(ctx: Any, dy_BLD: Tensor | None, dlast_DBN: Tensor | None, _: None) -> tuple[Tensor, ...]:
    start_DBN, both_DBAV, *matrices = ctx.saved_tensors
    dy_BLD = start_DBN.new_zeros(ctx.shape) if dy_BLD is None else dy_BLD
    dlast_DBN = torch.zeros_like(start_DBN) if dlast_DBN is None else dlast_DBN
    with without_autocast(both_DBAV.device.type):  # which may be on: backward() can stand in its context
        return chunked_average_backward(dy_BLD, dlast_DBN, both_DBAV, *matrices)


chunked_average.register_autograd(_gradients, setup_context=_keep)


def carry(
    added_DBAM: Tensor, decay_DM: Tensor, carried_DBAM: Tensor, *, backwards: bool, first_DBM: Tensor | float = 0.0
) -> None:
    """Fill ``carried``: first, then carried_{a+1} = λ carried_a + added_a; backwards from the last chunk to the first."""
    if not decay_DM.shape[-1]:
        return  # there are no averages over the future
    added, carried = added_DBAM.unbind(2), carried_DBAM.unbind(2)
    order = list(range(len(added)))[:: -1 if backwards else 1]
    decay_D1M = decay_DM.unsqueeze(1)
    carried[order[0]][:] = first_DBM
    for here, there in pairwise(order):
        torch.addcmul(added[here], carried[here], decay_D1M, out=carried[there])


def into_chunks(x_BLD: Tensor, chunks_DBAS: Tensor) -> None:
    """Write (B, L, D) into (D, B, A, S), the end of the last chunk filled with zeros."""
    size = chunks_DBAS.shape[-1]
    whole, rest = divmod(x_BLD.shape[1], size)
    x_DBAS = x_BLD[:, : whole * size].unflatten(1, (whole, size)).permute(3, 0, 1, 2)
    step = max(BLOCK // size, 1)
    for first in range(0, whole, step):
        chunks_DBAS[:, :, first : min(first + step, whole)] = x_DBAS[:, :, first : first + step]
    if rest:
        chunks_DBAS[:, :, -1, :rest] = x_BLD[:, whole * size :].permute(2, 0, 1)
        chunks_DBAS[:, :, -1, rest:] = 0.0


def from_chunks(x_DBAS: Tensor, length: int) -> Tensor:
    """(D, B, A, S) as (B, L, D), in this order in memory too."""
    return x_DBAS.flatten(2)[..., :length].permute(1, 2, 0).contiguous()


def _times(x_DBAX: Tensor, matrix_DXY: Tensor) -> Tensor:
    return torch.bmm(x_DBAX.flatten(1, 2), matrix_DXY).unflatten(1, x_DBAX.shape[1:3])


def _times_transposed(x_DBAX: Tensor, y_DBAY: Tensor) -> Tensor:
    return torch.bmm(x_DBAX.flatten(1, 2).transpose(1, 2), y_DBAY.flatten(1, 2))
