"""Keys and values of the encoder's output, computed once."""

# Shapes: B batch, S source positions, Z shared representation, D hidden size.
from torch import Tensor

from mmkit.models.mega.batch_state import BatchState


class CrossMemory(BatchState):
    """Projected keys (B, S, Z) and values (B, S, D) of the source, and its mask; None before the first step."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.mask: Tensor | None = None
