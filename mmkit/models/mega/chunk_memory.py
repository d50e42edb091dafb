"""Keys and values of the chunk that is being written, when attention sees one chunk only.

A chunk has a slot for each of its positions. What lies behind a row's last position stems from earlier chunks; causal attention
does not see it.
"""

# Shapes: B batch, T new columns, C slots of a chunk, P columns of history, L = P + T, Z shared representation, H values.
import copy
from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.models.mega.batch_state import BatchState
from mmkit.models.mega.chunk_slots import history_by_row, put
from mmkit.models.mega.ema_memory import require_recorded
from mmkit.models.mega.key_value_memory import Visible
from mmkit.models.mega.row_positions import RowPositions, leading_pads


class Continued(NamedTuple):
    """New columns behind those of the chunk that they continue; the first P of the L columns are history.

    Attributes:
        start_B: The column where each row's first chunk begins; None when it is the first one.
    """

    keys_BLZ: Tensor
    values_BLH: Tensor
    mask_BL: Tensor | None
    start_B: Tensor | None


class ChunkMemory(BatchState):
    """Keys and values of the last position's chunk: a step costs the same however long the context is.

    Args:
        size: Positions of a chunk.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.positions = RowPositions()
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.mask: Tensor | None = None
        self._base: ChunkMemory | None = None
        self._log: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def append(self, k_BTZ: Tensor, v_BTH: Tensor, mask_BT: Tensor | None, record: bool = False) -> Visible:
        """Add columns, and give what the last of them sees: its chunk up to its own slot."""
        self._record(k_BTZ, v_BTH, mask_BT, record)
        self.positions.advance(k_BTZ.shape[1], mask_BT)
        if mask_BT is None and self.mask is not None:
            mask_BT = all_real(k_BTZ)
        elif mask_BT is not None and self.mask is None and self.keys is not None:
            self.mask = all_real(self.keys)
        first = self.positions.before(k_BTZ.shape[1])
        self.keys = put(self.keys, k_BTZ, first, self.size)
        self.values = put(self.values, v_BTH, first, self.size)
        self.mask = None if mask_BT is None else put(self.mask, mask_BT, first, self.size)
        return self._visible((first + k_BTZ.shape[1] - 1) % self.size)

    def _visible(self, slot: int | Tensor) -> Visible:
        keys, values = self.live(slot)
        assert keys is not None
        assert values is not None
        return Visible(keys, values, None if self.mask is None else self.mask[:, : keys.shape[1]], slot)

    def with_history(self, k_BTZ: Tensor, v_BTH: Tensor, mask_BT: Tensor | None) -> Continued:
        """Take new columns behind those of the chunk that they continue; nothing is added to the memory."""
        assert self.keys is not None
        assert self.values is not None
        past = self.positions.before(0)
        if isinstance(past, Tensor):
            history = history_by_row(self.keys, self.values, self.mask, past % self.size)
        else:
            used = past % self.size
            history = self.keys[:, :used], self.values[:, :used], None if self.mask is None else self.mask[:, :used]
        keys_BLZ, values_BLH = torch.cat([history[0], k_BTZ], dim=1), torch.cat([history[1], v_BTH], dim=1)
        if history[2] is None and mask_BT is None:
            return Continued(keys_BLZ, values_BLH, None, None)
        mask_BP = all_real(history[0]) if history[2] is None else history[2]
        mask_BL = torch.cat([mask_BP, all_real(k_BTZ) if mask_BT is None else mask_BT], dim=1)
        return Continued(keys_BLZ, values_BLH, mask_BL, self._first_slots(past, mask_BL))

    def _first_slots(self, past: int | Tensor, mask_BL: Tensor) -> Tensor:
        if isinstance(past, int):
            return torch.zeros(mask_BL.shape[0], dtype=torch.long, device=mask_BL.device)
        # A row of nothing but pads so far begins at its first real column.
        return torch.where(past > 0, self.size - past % self.size, leading_pads(mask_BL))

    def live(self, last_slot: int | Tensor | None = None) -> tuple[Tensor | None, Tensor | None]:
        """The keys and values of the open chunk up to ``last_slot`` (all slots where rows differ)."""
        if self.keys is None or self.values is None:
            return None, None
        if last_slot is None:
            next_position = self.positions.before(0)
            last_slot = next_position if isinstance(next_position, Tensor) else next_position % self.size - 1
        used = self.keys.shape[1] if isinstance(last_slot, Tensor) else last_slot + 1
        return self.keys[:, :used], self.values[:, :used]

    def _record(self, k_BTZ: Tensor, v_BTH: Tensor, mask_BT: Tensor | None, record: bool) -> None:
        if not record:
            self._base, self._log = None, []
            return
        if not self._log:
            self._base = copy.deepcopy(self)
        self._log.append((k_BTZ, v_BTH, mask_BT))

    def crop(self, num_columns: int) -> None:
        """Go back by ``num_columns`` columns; they must have come since the last crop."""
        base, log = self._base, self._log
        self._base, self._log = None, []
        if num_columns == 0:
            return
        keep = sum(k_BTZ.shape[1] for k_BTZ, _, _ in log) - num_columns
        require_recorded(num_columns, keep + num_columns)
        assert base is not None
        vars(self).update(vars(base))
        for k_BTZ, v_BTH, mask_BT in log:
            if keep > 0:
                self.append(k_BTZ[:, :keep], v_BTH[:, :keep], None if mask_BT is None else mask_BT[:, :keep])
            keep -= k_BTZ.shape[1]


def all_real(x_BLX: Tensor) -> Tensor:
    """A mask (B, L) of nothing but real columns."""
    return x_BLX.new_ones(x_BLX.shape[:2], dtype=torch.bool)
