"""How far a cache has come, and where each of its rows begins."""

# Shapes: B batch, T new columns.
from torch import Tensor

from mmkit.models.mega.batch_state import BatchState


class RowPositions(BatchState):
    """Columns seen so far, and how many of them are padding at the front of each row.

    Positions of a row are counted from its first real column, so that padding never changes a result.

    Attributes:
        length: Columns seen, padding included.
        start_B: Leading pads of each row; a row of nothing but pads starts at ``length``. None when no row is padded.
    """

    def __init__(self) -> None:
        self.length = 0
        self.start_B: Tensor | None = None

    def advance(self, num_columns: int, mask_BT: Tensor | None) -> None:
        """Count ``num_columns`` more, of which ``mask_BT`` marks the real ones (None: all)."""
        if mask_BT is not None and self.length == 0:
            self.start_B = leading_pads(mask_BT)
        elif mask_BT is not None and self.start_B is not None:
            self.start_B = self.start_B + leading_pads(mask_BT) * (self.start_B == self.length)
        self.length += num_columns

    def crop(self, length: int) -> None:
        """Forget the columns from ``length`` on."""
        self.length = length
        if self.start_B is not None:
            self.start_B = self.start_B.clamp(max=length)

    def before(self, num_columns: int) -> int | Tensor:
        """Position of the first of the last ``num_columns`` columns, one for all rows or one a row."""
        first = self.length - num_columns
        return first if self.start_B is None else first - self.start_B


def leading_pads(mask_BT: Tensor) -> Tensor:
    """Number of padded columns before the first real one of each row, T in a row of pads."""
    return (mask_BT.cumsum(1) == 0).sum(1)
