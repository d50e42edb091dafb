"""Values of a relative bias that are kept while a text is decoded, so that a step reads a row and computes none."""

# Shapes: B batch, S keys, D distances.
from typing import Any, Self

import torch
from torch import Tensor

from mmkit.models.mega.growing_buffer import doubled
from mmkit.models.mega.relative_bias import RelativeBias, SimpleRelativePositionalBias


class BiasTable:
    """The bias for a range of ``key position - query position``, which doubles when a step leaves it.

    It belongs to one cache: like the keys there, it stems from the parameters of when it was made.
    """

    def __init__(self) -> None:
        self.first, self.last = 0, -1
        self.values_D: Tensor | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def row(self, bias: RelativeBias, offset: int | Tensor, num_keys: int, farthest: int) -> Tensor:
        """The bias (S,) of one query for ``num_keys`` keys, or (B, 1, S) when each row has its own position.

        Args:
            bias: What to take the values from.
            offset: Position of the query, counted from the first key: one for all rows, or (B,).
            num_keys: S.
            farthest: A position that no query goes beyond.
        """
        if torch.is_grad_enabled():
            return _fresh_row(bias, offset, num_keys)
        if isinstance(offset, int):
            values_D = self._reaching(bias, -offset, num_keys - 1 - offset)
            return values_D[-offset - self.first : num_keys - offset - self.first]
        values_D = self._reaching(bias, -farthest, num_keys - 1)
        distance_BS = torch.arange(num_keys, device=offset.device) - offset.unsqueeze(1)
        # Beyond the table lie pads, and keys that are hidden from the query.
        return values_D[(distance_BS - self.first).clamp(0, self.last - self.first)].unsqueeze(1)

    def _reaching(self, bias: RelativeBias, first: int, last: int) -> Tensor:
        if self.values_D is None or first < self.first or last > self.last:
            ahead = -doubled(-first)
            if isinstance(bias, SimpleRelativePositionalBias):
                ahead = max(ahead, 1 - bias.size)
            self.first, self.last = min(first, ahead, self.first), max(last, self.last)
            self.values_D = bias.by_distance(self.first, self.last)
        return self.values_D


def _fresh_row(bias: RelativeBias, offset: int | Tensor, num_keys: int) -> Tensor:
    if isinstance(offset, int):
        return bias.by_distance(-offset, num_keys - 1 - offset)
    key_S = torch.arange(num_keys, device=offset.device)
    return bias.between(offset.unsqueeze(1), key_S)
