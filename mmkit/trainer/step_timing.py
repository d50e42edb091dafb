"""How long steps take, and how long they wait for data."""

import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mmkit.conf.store import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY


@external_store(group="trainer/callbacks")
class StepTiming(Callback):
    """Log how long optimizer steps take, every ``trainer.log_every_n_steps`` of them.

    Loggers get the means since the last time: ``train/step_time_ms``; ``train/data_time_ms``, the part of it between two
    batches; ``train/samples_per_s`` of all ranks together. Validation and the start of an epoch are not counted. The device is
    not waited for: over a window of steps, the time between the ends of batches is the time that they take. The values are
    wall-clock times, so they go to loggers only, and never to checkpoints or monitored metrics.
    """

    def __init__(self) -> None:
        self._clear(0)
        self._ended: float | None = None

    def _clear(self, step: int) -> None:
        self._step, self._seconds, self._data_seconds, self._num_samples = step, 0.0, 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clear(trainer.global_step)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ended = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        if self._ended is not None:
            self._seconds += now - self._ended
            self._data_seconds += self._started - self._ended
        else:
            self._seconds += now - self._started
        self._ended = now
        self._num_samples += num_samples(batch)
        step, every = trainer.global_step, trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        if step > self._step and every and step % every == 0:
            self._write(trainer, step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ended = None

    def _write(self, trainer: Trainer, step: int) -> None:
        num_steps = step - self._step
        values = {
            "train/step_time_ms": 1000 * self._seconds / num_steps,
            "train/data_time_ms": 1000 * self._data_seconds / num_steps,
        }
        if self._num_samples:
            values["train/samples_per_s"] = self._num_samples * trainer.world_size / self._seconds
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step)
        self._clear(step)


def num_samples(batch: Any) -> int:
    """Examples in a batch of mmkit's collator; 0 of another one."""
    return len(batch[EXAMPLE_INDEX_KEY]) if isinstance(batch, Mapping) and EXAMPLE_INDEX_KEY in batch else 0
