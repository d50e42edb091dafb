"""The norms that a Mega layer may use, on batch-first sequences with padding."""

import torch
from torch import Tensor, nn

from mmkit.models.mega.masked_batch_norm import BatchNorm


# Shapes: B batch, L positions, D features.
class ScaleNorm(nn.Module):
    """Scale each position to a root mean square of one, times one learned number (https://arxiv.org/abs/1910.05895).

    Args:
        eps: Added to the mean square.
        affine: Learn the number.
    """

    def __init__(self, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.scalar: nn.Parameter | None
        self.register_parameter("scalar", nn.Parameter(torch.ones(1)) if affine else None)

    def forward(self, x_BLD: Tensor) -> Tensor:
        rate_BL1 = inverse_rms(x_BLD, self.eps)
        if self.scalar is not None:
            rate_BL1 = rate_BL1 * self.scalar
        return (x_BLD * rate_BL1).to(x_BLD.dtype)


class RMSNorm(nn.Module):
    """Scale each position to a root mean square of one, times one learned number for each feature.

    Args:
        features: ``D``.
        eps: Added to the mean square.
        affine: Learn the numbers.
    """

    def __init__(self, features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight: nn.Parameter | None
        self.register_parameter("weight", nn.Parameter(torch.ones(features)) if affine else None)

    def forward(self, x_BLD: Tensor) -> Tensor:
        y_BLD = x_BLD * inverse_rms(x_BLD, self.eps)
        if self.weight is not None:
            y_BLD = y_BLD * self.weight
        return y_BLD.to(x_BLD.dtype)


def inverse_rms(x_BLD: Tensor, eps: float) -> Tensor:
    """``1 / sqrt(mean(x²) + eps)`` of each position (B, L, 1), in fp32 at least: squares overflow in fp16."""
    wide = torch.float32 if x_BLD.dtype.itemsize < 4 else None
    length_BL1 = torch.linalg.vector_norm(x_BLD, dim=-1, keepdim=True, dtype=wide)  # makes no tensor of squares
    return torch.rsqrt(length_BL1.square() / x_BLD.shape[-1] + eps)


class SequenceNorm(nn.Module):
    """The norm that a configuration names.

    Args:
        kind: ``layernorm``, ``scalenorm``, ``rmsnorm``, ``batchnorm`` or ``syncbatchnorm``.
        features: ``D``.
        eps: Added to the variance or mean square.
        affine: Learn the scale (and shift, where the norm has one).
    """

    def __init__(self, kind: str, features: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        makers = {
            "layernorm": lambda: nn.LayerNorm(features, eps, elementwise_affine=affine),
            "scalenorm": lambda: ScaleNorm(eps, affine),
            "rmsnorm": lambda: RMSNorm(features, eps, affine),
            "batchnorm": lambda: BatchNorm(features, eps, affine=affine),
            "syncbatchnorm": lambda: BatchNorm(features, eps, affine=affine, across_ranks=True),
        }
        self.norm = makers[kind]()

    def forward(self, x_BLD: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        """Normalize ``x_BLD``; the positions that ``mask_BL`` leaves out do not count in batch statistics."""
        return self.norm(x_BLD, mask_BL) if isinstance(self.norm, BatchNorm) else self.norm(x_BLD)
