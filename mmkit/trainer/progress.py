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
        self._finished = ""

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
        self._finished = f"epoch {trainer.current_epoch + 1}"  # printed later: the epoch's metrics are logged after this hook

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        self._print_finished_epoch(trainer)
        super().on_train_epoch_start(trainer, *args)

    def on_train_end(self, *args: Any) -> None:
        self._print_finished_epoch(args[0])
        super().on_train_end(*args)

    def _print_finished_epoch(self, trainer: Trainer) -> None:
        if self._finished and not sys.stdout.isatty() and not super().is_disabled:
            of = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
            metrics = sorted(trainer.callback_metrics.items())
            values = [f"{name} {value:.4g}" for name, value in metrics if name.startswith("train/") or name == "val/loss"]
            print(f"{self._finished}{of}  step {trainer.global_step}", *values, sep="  ", flush=True)
        self._finished = ""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, int | str | float | dict[str, float]]:
        return {name.partition("/")[2]: value for name, value in getattr(pl_module, "last_train_metrics", {}).items()}
