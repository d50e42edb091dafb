"""Budgets counted in tokens and met by whole words: exactly, or as near as words come."""

import torch
from torch import Tensor

from mmkit.datasets.masking.spans import Spans, random_orders


# Shapes: B texts, S spans, W words of the text that has most (W1: one more, for tokens that belong to no word).
def words_to_draw(budget_B: Tensor, size_BW: Tensor, num_B: Tensor) -> Tensor:
    """How many words to lay spans over, so that a budget counted in tokens is most likely reached."""
    expected_B = budget_B * num_B / size_BW.sum(-1).clamp(min=1)
    plenty_B = (expected_B * 1.25 + 3).ceil().long()
    return torch.where(budget_B > 0, torch.minimum(plenty_B, num_B), 0)


def suffix_words(size_BW: Tensor, num_B: Tensor, budget_B: Tensor) -> tuple[Tensor, Tensor]:
    """How many words at the end of a text, and how many tokens, come nearest to a budget; the fewer if two are equally near."""
    most = size_BW.shape[-1]
    before_BW1 = torch.cat([size_BW.new_zeros(len(size_BW), 1), size_BW.cumsum(-1)], -1)
    tokens_BW1 = before_BW1[:, -1:] - before_BW1
    index_W1 = torch.arange(most + 1, device=size_BW.device)
    start_B1 = ((tokens_BW1 - budget_B.unsqueeze(-1)).abs() * (most + 1) - index_W1).argmin(-1, keepdim=True)
    return (num_B - start_B1.squeeze(-1)).clamp(min=0), tokens_BW1.gather(1, start_B1).squeeze(-1)


def admit_spans(spans: Spans, size_BW: Tensor, budget_B: Tensor, generator: torch.Generator | None) -> Spans:
    """Let spans in, in a random order, until their tokens meet the budget; the one that exceeds it is cut behind a word.

    Args:
        spans: Spans of words, in the order of their places.
        size_BW: Tokens of each word.
        budget_B: Most tokens of all spans of a text.
        generator: Source of randomness.
    """
    before_BW1 = torch.cat([size_BW.new_zeros(len(size_BW), 1), size_BW.cumsum(-1)], -1)
    first_BS = spans.start_BS.clamp(max=size_BW.shape[-1])
    size_BS = before_BW1.gather(1, first_BS + spans.length_BS) - before_BW1.gather(1, first_BS)
    order_BS = random_orders(spans.valid_BS.sum(-1), generator)
    sorted_BS = size_BS.gather(1, order_BS)
    left_BS = torch.zeros_like(size_BS).scatter(1, order_BS, budget_B.unsqueeze(-1) - sorted_BS.cumsum(-1) + sorted_BS)
    limit_BS = before_BW1.gather(1, first_BS) + left_BS.clamp(min=0)
    # as many words as end before the limit; before_BW1 rises, but for the columns behind a text, which repeat its end
    length_BS = torch.searchsorted(before_BW1.contiguous(), limit_BS.contiguous(), right=True) - 1 - first_BS
    length_BS = torch.minimum(length_BS, spans.length_BS)
    valid_BS = spans.valid_BS & (left_BS > 0) & ((length_BS > 0) | (spans.length_BS == 0))
    return Spans(spans.start_BS, torch.where(valid_BS, length_BS, 0), valid_BS)


def choose_words(
    size_BW: Tensor, chosen_BW: Tensor, free_BW: Tensor, budget_B: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Choose further words at random until the chosen ones have as many tokens as the budget says.

    No other choice comes nearer to the budget; of two that are equally near, this is the smaller one. Chosen words are given up
    only where that is needed.

    Args:
        size_BW: Tokens of each word.
        chosen_BW: The words that are chosen already, with at most so many tokens, bool.
        free_BW: The words that may be chosen, bool.
        budget_B: Tokens of the chosen words.
        generator: Source of randomness.

    Returns:
        The chosen words (B, W), bool.
    """
    room_B = budget_B - (size_BW * chosen_BW).sum(-1)
    order_BW = random_orders(torch.full_like(budget_B, size_BW.shape[-1]), generator)
    free_size_BW = (size_BW * free_BW).gather(1, order_BW)
    taken_BW = (free_size_BW.cumsum(-1) <= room_B.unsqueeze(-1)) & (free_size_BW > 0)
    room_B1 = (room_B - (free_size_BW * taken_BW).sum(-1)).unsqueeze(-1)
    fits_BW = (free_size_BW == room_B1) & ~taken_BW & (room_B1 > 0)
    taken_BW |= fits_BW & (fits_BW.cumsum(-1) == 1)
    chosen_BW = chosen_BW | torch.zeros_like(taken_BW).scatter(1, order_BW, taken_BW)
    missed_B = (size_BW * chosen_BW).sum(-1) != budget_B
    for row in missed_B.nonzero().flatten().tolist():  # few rows of long texts: mostly some word has the size that is left
        movable = (free_BW | chosen_BW)[row].nonzero().flatten()
        movable = movable[order_BW[row].argsort()[movable].argsort()] if len(movable) else movable
        kept = nearest_subset(size_BW[row, movable].tolist(), chosen_BW[row, movable].tolist(), int(budget_B[row]))
        chosen_BW[row, movable] = torch.tensor(kept, dtype=torch.bool, device=chosen_BW.device)
    return chosen_BW


def nearest_subset(sizes: list[int], chosen: list[bool], target: int) -> list[bool]:
    """The choice of items whose sizes add up nearest to ``target``, the smaller sum if two are equally near.

    Starts from ``chosen`` and goes through the items from behind: each stays as it is where the sum allows it.

    Example:
        >>> nearest_subset([2, 2, 3], [False, False, True], 4)
        [True, True, False]
    """
    reachable = [1]  # bit s: the items so far can add up to s
    for size in sizes:
        reachable.append(reachable[-1] | reachable[-1] << size)
    total = _nearest_bit(reachable[-1], target)
    result = list(chosen)
    for index in range(len(sizes) - 1, -1, -1):
        without, with_it = total, total - sizes[index]
        can_leave = bool(reachable[index] >> without & 1)
        can_take = with_it >= 0 and bool(reachable[index] >> with_it & 1)
        result[index] = (chosen[index] and can_take) or not can_leave
        total = with_it if result[index] else without
    return result


def _nearest_bit(bits: int, target: int) -> int:
    below = (bits & ((2 << target) - 1)).bit_length() - 1  # bit 0 is always set
    above = bits >> target
    if above == 0:
        return below
    distance = (above & -above).bit_length() - 1
    return target + distance if distance < target - below else below
