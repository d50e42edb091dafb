"""Dropout that costs little on a CPU, where drawing each number on its own takes longer than what Mega does with it."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


# Four 16-bit numbers are cut from each 64-bit draw.
LEVELS = 2**16
PER_DRAW = 4


def drop(x: Tensor, p: float, training: bool = True) -> Tensor:
    """``x`` with values zeroed with probability ``p`` and the others scaled so that the mean stays.

    Example:
        >>> drop(torch.ones(2), p=0.5, training=False)
        tensor([1., 1.])
    """
    if not training or p == 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p)
    return _Drop.apply(x, p)


def keep_mask(like: Tensor, p: float) -> Tensor:
    """Ones, and zeros with probability ``p`` (to 2^-17), in the shape of ``like``, as bytes."""
    kept = torch.empty(like.shape, dtype=torch.int8, device=like.device)
    dropped = round(p * LEVELS)
    if dropped == LEVELS:  # beyond what 16 bits can be compared with
        return kept.zero_()
    num_draws = (like.numel() + PER_DRAW - 1) // PER_DRAW
    draws = torch.empty(num_draws, dtype=torch.int64, device=like.device).random_(-(2**63), None)
    return torch.ge(draws.view(torch.int16)[: like.numel()].view(like.shape), dropped - LEVELS // 2, out=kept)


def keep_scale(kept: Tensor, p: float, dtype: torch.dtype) -> Tensor:
    """What to multiply by: ``kept`` over its mean."""
    dropped = round(p * LEVELS)
    return kept.to(dtype).mul_(LEVELS / max(1, LEVELS - dropped))


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, p: float) -> Tensor:
        kept = keep_mask(x, p)
        ctx.save_for_backward(kept)
        ctx.p = p
        return keep_scale(kept, p, x.dtype).mul_(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return keep_scale(kept, ctx.p, grads[0].dtype).mul_(grads[0]), None
