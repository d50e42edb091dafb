"""Learned scale of a residual branch."""

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store


@external_store(group="modules/layers")
class LayerScale(nn.Module):
    """Multiply every channel by a learned factor that starts small (https://arxiv.org/abs/2103.17239).

    Args:
        dim: Size of the last axis.
        init: Initial factor; deep transformers start at 1e-5.
    """

    def __init__(self, dim: int, init: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full([dim], init))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma
