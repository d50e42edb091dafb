"""L2 normalisation as a layer."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.conf.store import external_store


@external_store(group="modules/layers")
class L2Norm(nn.Module):
    """Scale vectors to unit length; a zero vector stays zero.

    Args:
        dim: The axis along which the length is one.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=self.dim)
