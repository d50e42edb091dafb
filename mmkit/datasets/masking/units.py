"""What spans are made of: the tokens of a text or its words, numbered from 0 in every row."""

from typing import NamedTuple

import torch
from torch import Tensor


# Shapes: B texts, L tokens, W units of the text that has most.
class Units(NamedTuple):
    """The units of a batch.

    Attributes:
        unit_BL: Number of each token's unit; W for tokens that may not be changed.
        num_B: Number of units of each text.
        size_BW: Tokens of each unit, 0 behind the last one.
        first_BW1: Position of each unit's first token; behind the last unit, the position after the last token of a unit.
    """

    unit_BL: Tensor
    num_B: Tensor
    size_BW: Tensor
    first_BW1: Tensor


def number_units(maskable_BL: Tensor, start_BL: Tensor | None = None) -> Units:
    """Number the units of every text.

    Args:
        maskable_BL: Which tokens belong to a unit, bool.
        start_BL: Which tokens begin a unit, bool; default: each is one. A unit ends where something else stands between.
    """
    is_token = start_BL is None
    start_BL = maskable_BL if start_BL is None else maskable_BL & (start_BL | ~previous(maskable_BL))
    order_BL = start_BL.cumsum(-1)
    num_B1 = order_BL[:, -1:] if order_BL.shape[-1] else order_BL.new_zeros(len(order_BL), 1)
    most = int(num_B1.max()) if len(num_B1) else 0
    unit_BL = torch.where(maskable_BL, order_BL - 1, most)
    if is_token:
        size_BW = (torch.arange(most, device=unit_BL.device) < num_B1).long()
    else:
        size_BW = unit_BL.new_zeros(len(unit_BL), most + 1).scatter_add_(1, unit_BL, torch.ones_like(unit_BL))[:, :most]
    position_L = torch.arange(maskable_BL.shape[-1], device=unit_BL.device)
    end_B1 = ((position_L + 1) * maskable_BL).amax(-1, keepdim=True) if maskable_BL.shape[-1] else num_B1
    place_BL = unit_BL if is_token else torch.where(start_BL, unit_BL, most)
    first_BW1 = end_B1.repeat(1, most + 1).scatter_(1, place_BL, position_L.expand_as(unit_BL))
    first_BW1[:, most:] = end_B1
    return Units(unit_BL, num_B1.squeeze(-1), size_BW, first_BW1)


def previous(flag_BL: Tensor) -> Tensor:
    """The flag of the position before; false at the first.

    Example:
        >>> previous(torch.tensor([[True, False, True]]))
        tensor([[False,  True, False]])
    """
    return torch.cat([flag_BL.new_zeros(len(flag_BL), 1), flag_BL], -1)[:, : flag_BL.shape[-1]]
