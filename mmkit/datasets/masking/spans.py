"""Spans of random lengths at random places: as many units as the budget says, in every text of a batch at once."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


# Shapes: B texts, S spans of the text that has most, N items to choose from, W units.
class Spans(NamedTuple):
    """Spans of every text, in the order of their places.

    Attributes:
        start_BS: The unit that each begins with; for one of length 0 the unit that it stands before.
        length_BS: Its units.
        valid_BS: Which entries are spans at all, bool.
    """

    start_BS: Tensor
    length_BS: Tensor
    valid_BS: Tensor


def budget_of(ratio: float | Tensor, num_B: Tensor) -> Tensor:
    """``round(ratio * num)`` for every text, halves to the even number as Python rounds."""
    return (num_B.double() * ratio).round().long()


def poisson_lengths(budget_B: Tensor, mean: float, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Draw lengths from Poisson(``mean``), zeros included, until they add up to the budget; the last is cut to fit.

    Args:
        budget_B: What the lengths of each text add up to.
        mean: Expected length.
        generator: Source of randomness.

    Returns:
        The lengths (B, S) and how many there are of each text (B,); 0 behind them. The one that was cut may stand anywhere.
    """
    most = int(budget_B.max()) if budget_B.numel() else 0
    # So many draws reach the budget but for a chance of 1e-12; then the last takes what is left.
    num_draws = math.ceil((most + 8 * math.sqrt(most) + 16) / mean)
    rates_BS = torch.full((len(budget_B), num_draws), mean, device=budget_B.device)
    draws_BS = torch.poisson(rates_BS, generator=generator).long()
    before_BS = draws_BS.cumsum(-1) - draws_BS
    left_BS = (budget_B.unsqueeze(-1) - before_BS).clamp(min=0)
    length_BS = torch.minimum(draws_BS, left_BS)
    length_BS[:, -1] = left_BS[:, -1]
    num_B = (left_BS > 0).sum(-1)
    return _rotated(length_BS[:, : _most(num_B)], num_B, generator), num_B


def composed_lengths(budget_B: Tensor, num_B: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Cut the budget into ``num`` spans of at least one unit; all ways to cut it are equally likely.

    Args:
        budget_B: What the lengths of each text add up to.
        num_B: How many lengths, at most the budget; 0 only where the budget is 0.
        generator: Source of randomness.

    Returns:
        The lengths (B, S); 0 behind the last of a text.
    """
    most = _most(num_B)
    cuts_BS = random_subsets((num_B - 1).clamp(min=0), (budget_B - 1).clamp(min=0), generator)
    ends_BS = torch.full((len(num_B), most), _FAR, device=num_B.device)
    ends_BS[:, : cuts_BS.shape[-1]] = cuts_BS + 1
    ends_BS = torch.minimum(ends_BS, budget_B.unsqueeze(-1))
    return ends_BS.diff(dim=-1, prepend=torch.zeros_like(budget_B).unsqueeze(-1))


def place_spans(length_BS: Tensor, num_B: Tensor, num_units_B: Tensor, generator: torch.Generator | None = None) -> Spans:
    """Put spans at random places, never two side by side while there is room: all such arrangements are equally likely.

    Args:
        length_BS: Lengths of the spans in their order; those behind the last of a text are 0.
        num_B: Number of spans of each text.
        num_units_B: Units of each text, at least the sum of the lengths.
        generator: Source of randomness.
    """
    kept_B = num_units_B - length_BS.sum(-1)
    gap_BS = random_subsets(num_B, kept_B + 1, generator)  # before the first unit that is kept, ..., behind the last
    valid_BS = torch.arange(length_BS.shape[-1], device=num_B.device) < num_B.unsqueeze(-1)
    start_BS = gap_BS + length_BS.cumsum(-1) - length_BS
    return Spans(torch.where(valid_BS, start_BS, num_units_B.unsqueeze(-1)), length_BS, valid_BS)


_FAR = 2**40  # behind every position


def random_subsets(num_chosen_B: Tensor, num_items_B: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Choose ``num_chosen`` of the items 0 ... ``num_items - 1`` of each row, all subsets equally likely.

    Who asks for more than there are gets every item equally often, and a random subset for the rest.

    Returns:
        The chosen items (B, S) in their order, 2**40 behind the last of a row.
    """
    most = _most(num_chosen_B)
    order_BN = random_orders(num_items_B, generator)
    if order_BN.shape[-1] == 0 or most == 0:
        return torch.full((len(num_items_B), most), _FAR, device=num_items_B.device)
    column_S = torch.arange(most, device=num_items_B.device)
    chosen_BS = order_BN.gather(1, column_S % num_items_B.clamp(min=1).unsqueeze(-1))
    return sorted_rows(torch.where(column_S < num_chosen_B.unsqueeze(-1), chosen_BS, _FAR))


def random_orders(num_items_B: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The items 0 ... ``num_items - 1`` of each row in a random order (B, N); behind them, the columns that are left."""
    most = _most(num_items_B)
    column_N = torch.arange(most, device=num_items_B.device)
    # One sort of whole numbers: random bits above, the column below. 2**-42 is the chance of two equal keys.
    key_BN = torch.randint(2**62, (len(num_items_B), most), generator=generator, device=num_items_B.device)
    key_BN.bitwise_and_(-(2**20)).masked_fill_(column_N >= num_items_B.unsqueeze(-1), 2**62).add_(column_N)
    return sorted_rows(key_BN).bitwise_and_(2**20 - 1)


def sorted_rows(values_BN: Tensor) -> Tensor:
    """Sort every row; by NumPy on a CPU, whose vectorised sort takes a tenth of the time."""
    if values_BN.device.type == "cpu":
        return torch.from_numpy(np.sort(values_BN.numpy(), axis=-1))
    return values_BN.sort(-1).values


def _rotated(length_BS: Tensor, num_B: Tensor, generator: torch.Generator | None) -> Tensor:
    """Turn the lengths of each row by a random number of places, so that the cut one does not always end the text."""
    column_S = torch.arange(length_BS.shape[-1], device=num_B.device)
    num_B1 = num_B.unsqueeze(-1)
    turn_B1 = (torch.rand(num_B1.shape, generator=generator, device=num_B.device) * num_B1).long()
    turned_BS = length_BS.gather(1, (column_S + turn_B1) % num_B1.clamp(min=1)) if length_BS.numel() else length_BS
    return torch.where(column_S < num_B1, turned_BS, 0)


def _most(num_B: Tensor) -> int:
    return int(num_B.max()) if num_B.numel() else 0
