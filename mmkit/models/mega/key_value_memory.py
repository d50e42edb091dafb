"""Keys and values of earlier positions, when attention sees all of them."""

# Shapes: B batch, T new columns, S columns that the new ones may see, Z shared representation, H values.
from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.models.mega.batch_state import BatchState
from mmkit.models.mega.growing_buffer import doubled, write
from mmkit.models.mega.row_positions import RowPositions


class Visible(NamedTuple):
    """The keys and values that new queries attend to.

    Attributes:
        offset: Position of the first new column, counted from the first key; one for all or one a row.
        first_B: The key at which each row begins; None when all begin at the first one.
    """

    keys_BSZ: Tensor
    values_BSH: Tensor
    mask_BS: Tensor | None
    offset: int | Tensor
    first_B: Tensor | None = None


class KeyValueMemory(BatchState):
    """All keys and values so far, in buffers that double when they are full.

    Args:
        capacity: Columns for which there is room from the beginning.
    """

    def __init__(self, capacity: int = 0) -> None:
        self.capacity = capacity
        self.positions = RowPositions()
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.mask: Tensor | None = None

    def append(self, k_BTZ: Tensor, v_BTH: Tensor, mask_BT: Tensor | None, record: bool = False) -> Visible:
        """Add columns; ``record`` has no effect, since nothing is overwritten."""
        past, length = self.positions.length, self.positions.length + k_BTZ.shape[1]
        # The first columns are kept as they came: a forward pass that is never continued copies nothing.
        capacity = max(self.capacity, doubled(length) if past else 0)
        self.keys = k_BTZ if not capacity else write(self.keys, past, k_BTZ, capacity)
        self.values = v_BTH if not capacity else write(self.values, past, v_BTH, capacity)
        self.mask = self._with_mask(mask_BT, past, k_BTZ, capacity)
        self.positions.advance(k_BTZ.shape[1], mask_BT)
        mask_BS = None if self.mask is None else self.mask[:, :length]
        return Visible(self.keys[:, :length], self.values[:, :length], mask_BS, past, self.positions.start_B)

    def _with_mask(self, mask_BT: Tensor | None, past: int, like_BTZ: Tensor, capacity: int) -> Tensor | None:
        if mask_BT is None and self.mask is None:
            return None
        new = like_BTZ.new_ones(like_BTZ.shape[:2], dtype=torch.bool) if mask_BT is None else mask_BT
        if self.mask is None and past:
            new, past = torch.cat([new.new_ones(new.shape[0], past), new], dim=1), 0
        return write(self.mask, past, new, capacity)

    def live(self) -> tuple[Tensor | None, Tensor | None]:
        """The keys (B, S, Z) and values (B, S, H) so far."""
        if self.keys is None or self.values is None:
            return None, None
        return self.keys[:, : self.positions.length], self.values[:, : self.positions.length]

    def crop(self, num_columns: int) -> None:
        """Forget the last ``num_columns`` columns; their room is written over."""
        self.positions.crop(self.positions.length - num_columns)
