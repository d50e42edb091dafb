"""Dropout that costs little on a CPU, where drawing each number on its own takes longer than what Mega does with it."""

import torch
from torch import Tensor
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
    return x * keep_scale(x, p)


def keep_scale(like: Tensor, p: float) -> Tensor:
    """Factors of the shape and type of ``like``, on the CPU: zero with probability ``p`` (to 2^-17), else one over the rest."""
    dropped = round(p * LEVELS)
    if dropped >= LEVELS:
        return torch.zeros_like(like)
    draws = torch.empty((like.numel() + PER_DRAW - 1) // PER_DRAW, dtype=torch.int64, device=like.device)
    numbers = draws.random_(-(2**63), None).view(torch.int16)[: like.numel()].view(like.shape)
    factor = torch.empty(like.shape, dtype=like.dtype, device=like.device)
    return torch.ge(numbers, dropped - LEVELS // 2, out=factor).mul_(LEVELS / (LEVELS - dropped))
