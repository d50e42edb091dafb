"""Where a run can stop: between two batches, with nothing half done."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mmkit.dataloader.loaders import ConfiguredData
from mmkit.experiment.loop_state import Position
from mmkit.experiment.stops import Stops


class BatchBoundaries(Callback):
    """Obey requests to stop between two batches, in training and in validation.

    Never where gradients of accumulated batches are pending. A stop in a validation does not wait for its end; whoever saves
    then lets it be run again on resume.

    Args:
        data: The data, which is told the next batch.
        stops: The requests.
    """

    def __init__(self, data: ConfiguredData, stops: Stops) -> None:
        self.data, self.stops = data, stops
        self._common_val_batches = 0

    def at_boundary(self, trainer: Trainer) -> None:
        """What is to be done between two batches; nothing here."""

    def save_before_stop(self, trainer: Trainer, position: Position) -> Path | None:
        """Save, and say where; not at all here."""
        return None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stops.install()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.data.mark(trainer.current_epoch, batch_idx)
            self._stop_if_agreed(trainer, Position.NEXT_BATCH)
            self.at_boundary(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._mark_next(trainer, batch_idx)  # for a ModelCheckpoint of the user's

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        counts = [count for count in trainer.num_val_batches if count != float("inf")]
        self._common_val_batches = self.stops.common_count(int(sum(counts)))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking or batch_idx >= self._common_val_batches:
            return
        trained = trainer.fit_loop.epoch_loop.batch_idx
        if (trained + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch:
            self._mark_next(trainer, trained)
            self._stop_if_agreed(trainer, Position.BEFORE_VALIDATION)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stops.restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.stops.restore()

    def _stop_if_agreed(self, trainer: Trainer, position: Position) -> None:
        reason = self.stops.agreed()
        if reason is not None:
            raise self.stops.error(self.save_before_stop(trainer, position) if reason.saves else None)

    def _mark_next(self, trainer: Trainer, batch_idx: int) -> None:
        epoch = trainer.current_epoch
        self.data.mark(*((epoch + 1, 0) if trainer.is_last_batch else (epoch, batch_idx + 1)))
