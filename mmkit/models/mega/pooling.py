"""One vector for a sequence."""

import torch
from torch import Tensor, nn

from mmkit.models.mega.configuration import MegaConfig


# Shapes: B batch, L positions, D hidden_size.
class MegaPooler(nn.Module):
    """A dense layer with tanh on one position of the sequence."""

    def __init__(self, config: MegaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BD: Tensor) -> Tensor:
        return torch.tanh(self.dense(x_BD))


def first_real(x_BLD: Tensor, mask_BL: Tensor | None) -> Tensor:
    """The vector (B, D) at the first position that is no pad, so that left padding changes nothing.

    Example:
        >>> first_real(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[0, 1, 1]]))
        tensor([[2.]])
    """
    if mask_BL is None:
        return x_BLD[:, 0]
    first_B = (mask_BL != 0).int().argmax(1)
    return x_BLD[torch.arange(len(x_BLD), device=x_BLD.device), first_B]
