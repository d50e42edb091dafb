"""Dropout and whatever else a training step draws, as a function of the step alone."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mmkit import rng


class StepRandomness(Callback):
    """Seed Python, NumPy and torch at the start of every training batch from (seed, epoch, batch, rank).

    A run that resumes draws what the uninterrupted run drew, without any saved state, and neither loaders nor loggers nor
    evaluations can disturb it. Epoch and batch are counted, not optimizer steps: accumulated batches draw different numbers.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        rng.seed_all(rng.derived_key(self.seed, "step", trainer.current_epoch, batch_idx, trainer.global_rank))
