"""Sentences of a text in another order."""

import torch
from torch import Tensor

from mmkit.datasets.masking.spans import budget_of, random_orders, random_subsets


# Shapes: B texts, L tokens, N tokens that stand for text, S sentences.
def permute_sentences(
    tokens_BL: Tensor,
    maskable_BL: Tensor,
    ends_BL: Tensor,
    start_BL: Tensor,
    ratio: float = 1.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Exchange ``round(ratio * num)`` sentences of each text among themselves (BART, https://arxiv.org/abs/1910.13461, §2.2).

    A sentence goes on from the word behind the last one's end to the next token that ends one; several of those in a row end one
    sentence. Tokens that stand for no text keep their positions.

    Args:
        tokens_BL: Ids.
        maskable_BL: Which tokens stand for text, bool.
        ends_BL: Which tokens end a sentence, bool.
        start_BL: Which tokens begin a word, bool; a sentence begins with a word.
        ratio: Share of the sentences that may move; a random order may leave some where they were.
        generator: Source of randomness.

    Returns:
        The ids and, of the same tokens, ``start_BL``.
    """
    after_end_BL = _previous_text(ends_BL & maskable_BL, maskable_BL)
    begins_BL = maskable_BL & ((after_end_BL & start_BL & ~ends_BL) | (maskable_BL.cumsum(-1) == 1))
    num_B = begins_BL.sum(-1)
    most = int(num_B.max()) if len(num_B) else 0
    sentence_BL = torch.where(maskable_BL, begins_BL.cumsum(-1) - 1, most)
    size_BS = sentence_BL.new_zeros(len(num_B), most + 1).scatter_add_(1, sentence_BL, torch.ones_like(sentence_BL))[:, :most]
    order_BS = _partly_random_orders(budget_of(ratio, num_B), num_B, most, generator)
    new_size_BS = size_BS.gather(1, order_BS)
    # how far each sentence moves: where it begins now, less where it began
    moved_BS = torch.zeros_like(order_BS).scatter(1, order_BS, new_size_BS.cumsum(-1) - new_size_BS)
    moved_BS -= size_BS.cumsum(-1) - size_BS
    moved_BS1 = torch.cat([moved_BS, moved_BS.new_zeros(len(num_B), 1)], -1)
    rank_BL = torch.where(maskable_BL, maskable_BL.cumsum(-1) - 1, 0)
    position_L = torch.arange(maskable_BL.shape[-1], device=num_B.device)
    position_BN = _packed(position_L.expand_as(rank_BL), rank_BL, maskable_BL)
    place_BL = position_BN.gather(1, rank_BL + moved_BS1.gather(1, sentence_BL))
    place_BL = torch.where(maskable_BL, place_BL, position_L)
    return torch.zeros_like(tokens_BL).scatter(1, place_BL, tokens_BL), torch.zeros_like(start_BL).scatter(1, place_BL, start_BL)


def _partly_random_orders(num_moved_B: Tensor, num_B: Tensor, most: int, generator: torch.Generator | None) -> Tensor:
    """The numbers 0 ... S - 1 in their order, but ``num_moved`` random ones of those below ``num`` exchanged (B, S)."""
    slot_BM = random_subsets(num_moved_B, num_B, generator).clamp(max=most)
    source_BM = slot_BM.gather(1, random_orders(num_moved_B, generator))
    order_BS = torch.arange(most + 1, device=num_B.device).repeat(len(num_B), 1)
    return order_BS.scatter(1, slot_BM, source_BM)[:, :most]


def _previous_text(flag_BL: Tensor, maskable_BL: Tensor) -> Tensor:
    """The flag of the last token before each that stands for text."""
    count_BL = maskable_BL.cumsum(-1) - maskable_BL.long()
    packed_BN = _packed(flag_BL, torch.where(maskable_BL, count_BL, 0), maskable_BL)
    return packed_BN.gather(1, (count_BL - 1).clamp(min=0)) & (count_BL > 0)


def _packed(values_BL: Tensor, rank_BL: Tensor, wanted_BL: Tensor) -> Tensor:
    """The wanted values first, in their order."""
    width = values_BL.shape[-1]
    spare_BL1 = values_BL.new_zeros(len(values_BL), width + 1)
    return spare_BL1.scatter(1, torch.where(wanted_BL, rank_BL, width), values_BL)[:, :width]
