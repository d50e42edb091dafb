"""Dropout of single values, or of one feature at every position of a sequence."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


# Shapes: B batch, L positions, D features.
class FeatureDropout(nn.Module):
    """Drop a feature at all positions of a sequence at once.

    Args:
        p: Probability that a feature of one sequence is dropped.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x_BLD: Tensor) -> Tensor:
        """``x_BLD`` with some of its features zeroed and the others scaled by ``1 / (1 - p)``, in training only."""
        if not self.training or self.p == 0:
            return x_BLD
        keep_B1D = F.dropout(torch.ones_like(x_BLD[:, :1]), self.p)
        return x_BLD * keep_B1D

    def extra_repr(self) -> str:
        return f"p={self.p}"


def dropout_layer(p: float, of_features: bool) -> nn.Module:
    """A layer that drops whole features (``of_features``) or single values with probability ``p``."""
    return FeatureDropout(p) if of_features else nn.Dropout(p)
