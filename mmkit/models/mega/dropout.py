"""Dropout of single values, or of one feature at every position of a sequence."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.models.mega.drop import drop


# Shapes: B batch, L positions, D features.
class Dropout(nn.Dropout):
    """Drop single values."""

    def forward(self, input: Tensor) -> Tensor:
        return drop(input, self.p, self.training)


class FeatureDropout(nn.Dropout):
    """Drop a feature at all positions of a sequence at once."""

    def forward(self, input: Tensor) -> Tensor:
        """``input`` (B, L, D) with some features of each sequence zeroed and the others scaled by ``1 / (1 - p)``."""
        if not self.training or self.p == 0:
            return input
        keep_B1D = F.dropout(torch.ones_like(input[:, :1]), self.p)
        return input * keep_B1D


def dropout_layer(p: float, of_features: bool) -> nn.Module:
    """A layer that drops whole features (``of_features``) or single values with probability ``p``."""
    return FeatureDropout(p) if of_features else Dropout(p)
