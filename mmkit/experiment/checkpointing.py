"""When a run is saved, and in which state: always between two batches, with nothing half done."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from mmkit.dataloader.loaders import ConfiguredData
from mmkit.errors import MMKitError, UsageError
from mmkit.experiment import random_state
from mmkit.experiment.boundaries import BatchBoundaries
from mmkit.experiment.checkpoint import DirectoryCheckpointIO
from mmkit.experiment.faults import NonFiniteGuard
from mmkit.experiment.loop_state import Position, count_batches, settle
from mmkit.experiment.stops import Stops


STATE_KEY = "mmkit_state"


@dataclass(frozen=True)
class SaveSchedule:
    """When to save. Without any of the first three: after every validation and every epoch.

    Args:
        every_n_train_steps: Optimizer steps between two saves.
        every_n_epochs: Epochs between two saves.
        train_time_interval: Time between two saves; counts besides the others.
        monitor: Metric by which the best are kept; saved after every validation, too.
        save_last: Save once more when the training ends.
    """

    every_n_train_steps: int | None = None
    every_n_epochs: int | None = None
    train_time_interval: timedelta | None = None
    monitor: str | None = None
    save_last: bool = True

    @property
    def is_default(self) -> bool:
        return self.every_n_train_steps is None and self.every_n_epochs is None


@dataclass
class _SinceLastSave:
    validated: bool = False
    ended_epoch: bool = False


class RunCheckpoint(BatchBoundaries, Checkpoint):
    """Save a run where it can be continued exactly.

    A checkpoint is made after a batch *and* its validation, before the next batch. So there is nothing to repeat and nothing
    to leave out when it is loaded.

    Args:
        directory: Where the checkpoints go, ``step-<number>`` each.
        schedule: When to save.
        data: The data, which is told the next batch.
        stops: Requests to stop.
        guard: Looks for NaN and infinity before a save; None for no look.
        describe: Further plain data for ``state.json``.
        resumed: Told the plain data of a loaded checkpoint before training goes on.
        is_ours: Whether the run's directory still belongs to this process.
    """

    def __init__(
        self,
        directory: Path,
        schedule: SaveSchedule,
        data: ConfiguredData,
        stops: Stops,
        guard: NonFiniteGuard | None = None,
        describe: Callable[[], dict[str, Any]] = dict,
        resumed: Callable[[dict[str, Any]], None] = lambda state: None,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(data, stops)
        self.directory, self.schedule, self.guard = directory, schedule, guard
        self.describe, self.resumed, self.is_ours = describe, resumed, is_ours
        self.saved_step = -1
        self._since = _SinceLastSave()
        self._saved_at = time.monotonic()
        self._score: float | None = None
        self._position = Position.NEXT_BATCH

    # When to save

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._saved_at = time.monotonic()
        io = trainer.strategy.checkpoint_io
        if isinstance(io, DirectoryCheckpointIO):
            with io.only_checking():
                trainer.save_checkpoint(self._path(trainer.global_step), weights_only=False)

    @property
    def monitor(self) -> str | None:
        """The metric by which the best are kept, under the name that Lightning's callbacks have for it."""
        return self.schedule.monitor

    def at_boundary(self, trainer: Trainer) -> None:
        if self._is_due(trainer):
            self._save(trainer, Position.NEXT_BATCH)

    def save_before_stop(self, trainer: Trainer, position: Position) -> Path:
        if self.saved_step != trainer.global_step:
            self._save(trainer, position)
        io = trainer.strategy.checkpoint_io
        if isinstance(io, DirectoryCheckpointIO):
            io.wait()
        return self._path(trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking and trainer.state.fn == TrainerFn.FITTING:
            self._since.validated = True
            self._score = self._monitored(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since.ended_epoch = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        is_new = trainer.global_step != self.saved_step and not _is_trial(trainer)
        if is_new and (self.schedule.save_last or self._is_due(trainer)):
            self._save(trainer, Position.END)
        super().on_train_end(trainer, pl_module)

    def _is_due(self, trainer: Trainer) -> bool:
        schedule, since, step = self.schedule, self._since, trainer.global_step
        if step == 0 or step == self.saved_step or _is_trial(trainer):
            return False
        due = since.validated and (schedule.is_default or schedule.monitor is not None)
        due |= schedule.is_default and since.ended_epoch
        if schedule.every_n_train_steps:
            due |= step % schedule.every_n_train_steps == 0
        if schedule.every_n_epochs and since.ended_epoch:
            due |= trainer.current_epoch % schedule.every_n_epochs == 0
        return bool(due) or self._time_is_up(trainer)

    def _time_is_up(self, trainer: Trainer) -> bool:
        interval = self.schedule.train_time_interval
        if interval is None or (trainer.world_size > 1 and trainer.global_step % 20):
            return False  # with several ranks the clock of the first counts, and asking it takes a while
        is_up = time.monotonic() - self._saved_at >= interval.total_seconds()
        return trainer.strategy.broadcast(is_up) if trainer.world_size > 1 else is_up

    # Saving and loading

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step:06d}"

    def _save(self, trainer: Trainer, position: Position) -> None:
        if not self.is_ours():
            raise MMKitError(f"Another process has taken {self.directory.parent} over, as this one was not heard of for minutes.")
        if self.guard is not None:
            self.guard.check_now(trainer, trainer.lightning_module)
        self._position = position
        trainer.save_checkpoint(self._path(trainer.global_step), weights_only=False)
        self._position = Position.NEXT_BATCH
        self.saved_step, self._saved_at = trainer.global_step, time.monotonic()
        self._since, self._score = _SinceLastSave(), None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            settle(checkpoint["loops"]["fit_loop"], self._position, trainer)
        checkpoint[STATE_KEY] = {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            "validated": self._position is not Position.BEFORE_VALIDATION,
            "monitor": self.schedule.monitor,
            "score": self._score,
            "data": self.data.state_dict(),
            "random": random_state.captured(),
            **self.describe(),
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != TrainerFn.FITTING or STATE_KEY not in checkpoint:
            return
        state = checkpoint[STATE_KEY]
        if (batch := self.data.state_dict()["batch"]) != state["data"]["batch"]:  # the batch size has changed
            count_batches(checkpoint["loops"]["fit_loop"], batch)
        if state["validated"]:  # otherwise the validation that is run now gives it a score, with which it is saved again
            self.saved_step = state["step"]
        random_state.restore(state["random"])
        self.resumed(state)

    def _monitored(self, trainer: Trainer) -> float | None:
        monitor = self.schedule.monitor
        if monitor is None:
            return None
        value = trainer.callback_metrics.get(monitor)
        if value is None:
            raise UsageError(
                f"exp_manager.checkpoint_callback_params.monitor={monitor}: no such metric after the validation. "
                f"There are: {', '.join(sorted(trainer.callback_metrics)) or 'none'}."
            )
        return value.item() if isinstance(value, Tensor) else float(value)


def _is_trial(trainer: Trainer) -> bool:
    return bool(trainer.fast_dev_run)  # pyright: ignore[reportAttributeAccessIssue]  (set by a function of Lightning's)
