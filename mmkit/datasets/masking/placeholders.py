"""Spans of units turned into tokens: which are left out, and where a mask or sentinel stands for them."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.datasets.masking.spans import Spans
from mmkit.datasets.masking.units import Units, previous


# Shapes: B texts, L tokens, S spans, W units, T tokens of the result.
class HiddenTokens(NamedTuple):
    """What spans hide.

    Attributes:
        hidden_BL: Tokens inside of a span, bool.
        begins_BL: Tokens that begin one, bool; a span that a special token cuts begins anew behind it.
        inserted_BL1: How many spans of length 0 stand before each position, at the end also behind the last one.
    """

    hidden_BL: Tensor
    begins_BL: Tensor
    inserted_BL1: Tensor


def hide_spans(spans: Spans, units: Units) -> HiddenTokens:
    """Find the tokens of spans.

    As many spans of length 0 are kept as the text does not get longer by: fewer only where a handful of tokens is hidden.
    """
    columns = units.first_BW1.shape[-1]
    filled_BS = spans.valid_BS & (spans.length_BS > 0)
    change_BW = torch.zeros_like(units.first_BW1)
    change_BW.scatter_add_(1, spans.start_BS.clamp(max=columns - 1), filled_BS.long())
    begins_BW = change_BW > 0
    change_BW.scatter_add_(1, (spans.start_BS + spans.length_BS).clamp(max=columns - 1), -filled_BS.long())
    hidden_BL = change_BW.cumsum(-1).gather(1, units.unit_BL) > 0
    first_BL = units.unit_BL != _before(units.unit_BL)
    begins_BL = hidden_BL & ((first_BL & begins_BW.gather(1, units.unit_BL)) | ~previous(hidden_BL))
    return HiddenTokens(hidden_BL, begins_BL, _inserted(spans, units, (hidden_BL & ~begins_BL).sum(-1)))


def _before(unit_BL: Tensor) -> Tensor:
    return torch.cat([unit_BL.new_full((len(unit_BL), 1), -1), unit_BL], -1)[:, : unit_BL.shape[-1]]


def _inserted(spans: Spans, units: Units, room_B: Tensor) -> Tensor:
    empty_BS = spans.valid_BS & (spans.length_BS == 0)
    empty_BS &= empty_BS.cumsum(-1) <= room_B.unsqueeze(-1)
    place_BS = units.first_BW1.gather(1, spans.start_BS.clamp(max=units.first_BW1.shape[-1] - 1))
    inserted_BL1 = units.unit_BL.new_zeros(len(units.unit_BL), units.unit_BL.shape[-1] + 1)
    return inserted_BL1.scatter_add_(1, place_BS, empty_BS.long())


def written_with_masks(
    tokens_BL: Tensor, kept_BL: Tensor, hidden: HiddenTokens, mask_id: int, pad_id: int
) -> tuple[Tensor, Tensor]:
    """Write the kept tokens of each text with one mask for every span.

    Args:
        tokens_BL: Ids.
        kept_BL: Which stay, bool.
        hidden: What the masks stand for.
        mask_id: Id of the mask.
        pad_id: Id behind the end of a text.

    Returns:
        Ids (B, T), padded on the right, and their attention mask (B, T), both long.
    """
    masks_BL1 = hidden.inserted_BL1.clone()
    masks_BL1[:, :-1] += hidden.begins_BL
    written_BL1 = masks_BL1.clone()
    written_BL1[:, :-1] += kept_BL
    end_BL1 = written_BL1.cumsum(-1)
    length = int(end_BL1[:, -1].max()) if len(end_BL1) else 0
    present_BT = torch.arange(length, device=tokens_BL.device) < end_BL1[:, -1:]
    text_BT = torch.where(present_BT, mask_id, pad_id)
    return put_tokens(text_BT, tokens_BL, end_BL1[:, :-1] - 1, kept_BL), present_BT.long()


def put_tokens(text_BT: Tensor, tokens_BL: Tensor, place_BL: Tensor, put_BL: Tensor) -> Tensor:
    """``text`` with the tokens that ``put`` names at their places."""
    spare_BT = torch.cat([text_BT, text_BT.new_zeros(len(text_BT), 1)], -1)  # what is not put lands in the spare column
    return spare_BT.scatter(1, torch.where(put_BL, place_BL, text_BT.shape[-1]), tokens_BL)[:, :-1]
