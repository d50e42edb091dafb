"""The state of the moving average between steps, and the way back for assisted decoding."""

# Shapes: B batch, T new positions, P pending positions, D hidden size; the state has any shape (B, ...).
import torch
from torch import Tensor

from mmkit.models.mega.batch_state import BatchState


class EmaMemory(BatchState):
    """State of the moving average after the last position.

    A state cannot be run backwards (old inputs have decayed in it). While the past is recorded, this keeps the inputs since
    the last ``crop``; ``crop`` returns to the state before them and leaves those that stay ``pending``, to be averaged again
    with the next step.

    Attributes:
        state: State before ``pending_BPD``, None at the beginning.
        pending_BPD: Inputs that ``state`` does not contain yet, masked.
    """

    def __init__(self) -> None:
        self.state: Tensor | None = None
        self.pending_BPD: Tensor | None = None
        self._base: Tensor | None = None
        self._log: list[Tensor] = []

    def settle(self, state: Tensor) -> None:
        """Take the state after the pending inputs."""
        self.state, self.pending_BPD = state, None

    def advance(self, x_BTD: Tensor, state: Tensor, record: bool) -> None:
        """Take the state after the masked inputs ``x_BTD``."""
        if not record:
            self._log = []
        else:
            self._base = self._base if self._log else self.state
            self._log.append(x_BTD)
        self.state = state

    def crop(self, num_columns: int) -> None:
        """Go back by ``num_columns`` positions; they must have come since the last crop."""
        if num_columns == 0:
            self._log = []
            return
        if self.pending_BPD is not None:
            self._base, self._log = self.state, [self.pending_BPD]
        known = sum(x_BTD.shape[1] for x_BTD in self._log)
        require_recorded(num_columns, known)
        kept_BPD = torch.cat(self._log, dim=1)[:, : known - num_columns]
        self.state, self._log = self._base, []
        self.pending_BPD = kept_BPD if known > num_columns else None


def require_recorded(num_columns: int, known: int) -> None:
    """Refuse to go back further than what was recorded."""
    if num_columns > known:
        raise RuntimeError(
            f"Cannot take back {num_columns} tokens: {known} were recorded since the last crop. "
            "Call cache.activate_past_recording() before the steps that may be taken back."
        )
