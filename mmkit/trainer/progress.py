"""A progress bar that redraws a few times a second instead of at every step."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from mmkit.conf.store import external_store


@external_store(group="trainer/callbacks")
class TimedProgressBar(TQDMProgressBar):
    """Lightning's progress bar, drawn at most every ``interval`` seconds, with the training metrics that were logged last.

    Args:
        interval: Shortest time between two redraws, in seconds.
    """

    def __init__(self, interval: float = 0.2) -> None:
        super().__init__()
        self.interval = interval
        self._drawn_at = 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._is_due() or batch_idx + 1 == self.total_train_batches:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self._is_due():
            super().on_validation_batch_end(*args, **kwargs)

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self._is_due():
            super().on_test_batch_end(*args, **kwargs)

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._drawn_at < self.interval:
            return False
        self._drawn_at = now
        return True

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, int | str | float | dict[str, float]]:
        logged = getattr(pl_module, "last_train_metrics", {})
        return {name.partition("/")[2]: value for name, value in logged.items()}
