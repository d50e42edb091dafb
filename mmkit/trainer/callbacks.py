"""Callbacks: every one of Lightning, and mmkit's own."""

from lightning.pytorch import callbacks

from mmkit.conf.store import external_store, register_external_modules
from mmkit.trainer.ema import ExponentialMovingAverage
from mmkit.trainer.progress import TimedProgressBar
from mmkit.trainer.step_timing import StepTiming


__all__ = ["ExponentialMovingAverage", "StepTiming", "TimedProgressBar"]

register_external_modules(
    callbacks,
    group="trainer/callbacks",
    base_cls=callbacks.Callback,
    ignore_cls=[
        callbacks.ModelCheckpoint,
        callbacks.ProgressBar,
        callbacks.BaseFinetuning,
        callbacks.Checkpoint,
        callbacks.BasePredictionWriter,
        callbacks.StochasticWeightAveraging,
    ],
)
external_store(
    callbacks.ModelCheckpoint,
    group="trainer/callbacks",
    dirpath="${hydra:runtime.output_dir}/checkpoints",
    auto_insert_metric_name=False,
)
external_store(callbacks.StochasticWeightAveraging, group="trainer/callbacks", device="cpu")  # its default is no config value
