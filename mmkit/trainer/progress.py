"""A progress display that costs a training step next to nothing."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from mmkit.conf.store import external_store


@external_store(group="trainer/callbacks")
class TimedProgressBar(TQDMProgressBar):
    """Lightning's progress bar, redrawn a few times a second; where output is no terminal, one line per epoch.

    It shows the training metrics that were logged last.

    Args:
        interval: Shortest time between two redraws, in seconds.
    """

    def __init__(self, interval: float = 0.2) -> None:
        super().__init__(leave=False)
        self.interval = interval
        self._drawn_at = 0.0

    @property
    def is_disabled(self) -> bool:
        return super().is_disabled or not sys.stdout.isatty()

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

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self.is_disabled and not super().is_disabled:
            epochs = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
            values = "  ".join(f"{name} {value:.4g}" for name, value in self._losses(trainer, pl_module).items())
            print(f"epoch {trainer.current_epoch + 1}{epochs}  step {trainer.global_step}  {values}", flush=True)

    def _losses(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        validation = {name: float(value) for name, value in trainer.callback_metrics.items() if name == "val/loss"}
        return {**getattr(pl_module, "last_train_metrics", {}), **validation}

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, int | str | float | dict[str, float]]:
        return {name.partition("/")[2]: value for name, value in getattr(pl_module, "last_train_metrics", {}).items()}
