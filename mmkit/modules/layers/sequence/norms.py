"""The norms of a transformer over sequences, by name."""

import torch.nn.functional as F
from torch import Tensor, nn


EPS = 1e-5  # of GPT-2, BART and torch's LayerNorm; torch's RMSNorm would take that of the type: 0.008 in bfloat16


class RMSNorm(nn.RMSNorm):
    """torch's RMSNorm (https://arxiv.org/abs/1910.07467): ``x / sqrt(mean(x²) + eps) · weight``, also under autocast.

    Autocast leaves the weight in fp32, and torch then falls back to a slow kernel, with a warning.
    """

    def forward(self, x: Tensor) -> Tensor:
        weight = None if self.weight is None else self.weight.to(x.dtype)
        return F.rms_norm(x, self.normalized_shape, weight, self.eps)


NORMS: dict[str, type[nn.LayerNorm] | type[RMSNorm]] = {"layernorm": nn.LayerNorm, "rmsnorm": RMSNorm}
NORM_POSITIONS = ("pre", "post", "normformer")


def make_norm(normalization: str, dim: int) -> nn.Module:
    """The norm of that name over the last axis.

    Args:
        normalization: ``"layernorm"`` or ``"rmsnorm"``.
        dim: Size of the last axis.

    Raises:
        ValueError: Unknown name.
    """
    if normalization not in NORMS:
        raise ValueError(f"Unknown normalization {normalization!r}. Allowed: {', '.join(NORMS)}.")
    return NORMS[normalization](dim, eps=EPS)


def final_norm(normalization: str, norm_position: str, dim: int) -> nn.Module:
    """What follows the last block: a norm, or nothing after post-norm blocks, which end with one.

    Raises:
        ValueError: Unknown name.
    """
    check_norm_position(norm_position)
    return nn.Identity() if norm_position == "post" else make_norm(normalization, dim)


def check_norm_position(norm_position: str) -> None:
    """Refuse what no block knows.

    Raises:
        ValueError: Unknown name.
    """
    if norm_position not in NORM_POSITIONS:
        raise ValueError(f"Unknown norm_position {norm_position!r}. Allowed: {', '.join(NORM_POSITIONS)}.")
