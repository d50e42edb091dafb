"""Callbacks: every one of Lightning, and mmkit's own."""

from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging

from mmkit.conf.store import external_store, register_table
from mmkit.trainer.ema import ExponentialMovingAverage
from mmkit.trainer.progress import TimedProgressBar
from mmkit.trainer.step_timing import StepTiming


__all__ = ["ExponentialMovingAverage", "StepTiming", "TimedProgressBar"]

CALLBACKS = [
    "BackboneFinetuning", "BatchSizeFinder", "DeviceStatsMonitor", "EMAWeightAveraging", "EarlyStopping",
    "GradientAccumulationScheduler", "LambdaCallback", "LearningRateFinder", "LearningRateMonitor", "ModelPruning",
    "ModelSummary", "OnExceptionCheckpoint", "RichModelSummary", "RichProgressBar", "SpikeDetection",
    "TQDMProgressBar", "ThroughputMonitor", "Timer", "WeightAveraging",
]  # fmt: skip

register_table("lightning.pytorch.callbacks", CALLBACKS, group="trainer/callbacks")
external_store(
    ModelCheckpoint,
    group="trainer/callbacks",
    dirpath="${hydra:runtime.output_dir}/checkpoints",
    auto_insert_metric_name=False,
)
external_store(StochasticWeightAveraging, group="trainer/callbacks", device="cpu")  # its default is no config value
