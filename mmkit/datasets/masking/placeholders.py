"""Spans of units turned into tokens: which are left out, and where a mask or sentinel stands for them."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.datasets.masking.spans import Spans
from mmkit.datasets.masking.units import Units, previous
from mmkit.datasets.masking.whole_words import admit_spans, choose_words


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


def hide_spans(
    spans: Spans, units: Units, budget_B: Tensor | None = None, generator: torch.Generator | None = None
) -> HiddenTokens:
    """Find the tokens of spans.

    As many spans of length 0 are kept as the text does not get longer by: fewer only where a handful of tokens is hidden.

    Args:
        spans: Spans of units, in the order of their places.
        units: The units.
        budget_B: For units of several tokens: the tokens to hide, which spans are cut and words are added for. The spans should
            have more.
        generator: Source of randomness.
    """
    if budget_B is not None:
        spans = admit_spans(spans, units.size_BW, budget_B, generator)
    hidden_BW1, begins_BW1 = _covered(spans, units.first_BW1)
    if budget_B is not None:
        hidden_BW1, begins_BW1 = _filled(hidden_BW1, begins_BW1, units, budget_B, generator)
    hidden_BL = hidden_BW1.gather(1, units.unit_BL)
    # a unit that begins no span is sent to the spare column
    place_BW1 = torch.where(begins_BW1, units.first_BW1, hidden_BL.shape[-1])
    begins_BL = hidden_BL.new_zeros(len(hidden_BL), hidden_BL.shape[-1] + 1).scatter_(1, place_BW1, True)[:, :-1]
    begins_BL = hidden_BL & (begins_BL | ~previous(hidden_BL))
    return HiddenTokens(hidden_BL, begins_BL, _inserted(spans, units, hidden_BL.sum(-1) - begins_BL.sum(-1)))


def _covered(spans: Spans, like_BW1: Tensor) -> tuple[Tensor, Tensor]:
    """Units inside of spans and units that begin one."""
    filled_BS, last = spans.valid_BS & (spans.length_BS > 0), like_BW1.shape[-1] - 1
    change_BW1 = torch.zeros_like(like_BW1).scatter_add_(1, spans.start_BS.clamp(max=last), filled_BS.long())
    begins_BW1 = change_BW1 > 0
    change_BW1.scatter_add_(1, (spans.start_BS + spans.length_BS).clamp(max=last), -filled_BS.long())
    return change_BW1.cumsum(-1) > 0, begins_BW1


def _filled(
    hidden_BW1: Tensor, begins_BW1: Tensor, units: Units, budget_B: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Hide further words until the budget is met. One beside a span becomes a part of it, one between two joins them."""
    hidden_BW = hidden_BW1[:, :-1]
    free_BW = ~hidden_BW & (units.size_BW > 0)
    met_BW = choose_words(units.size_BW, hidden_BW, free_BW, budget_B, generator)
    met_BW1 = torch.cat([met_BW, torch.zeros_like(hidden_BW1[:, -1:])], -1)
    return met_BW1, begins_BW1 & ~previous(met_BW1 & ~hidden_BW1)


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
    written_BL1 = hidden.inserted_BL1.clone()
    written_BL1[:, :-1] += hidden.begins_BL
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
