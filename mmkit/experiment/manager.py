"""The experiment manager: what ``exp_manager`` puts around a trainer to save, stop, watch and log a run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from mmkit.conf.run_version import CHECKPOINTS
from mmkit.dataloader.loaders import ConfiguredData
from mmkit.experiment.boundaries import BatchBoundaries
from mmkit.experiment.checkpoint import DirectoryCheckpointIO, Retention
from mmkit.experiment.checkpointing import RunCheckpoint, SaveSchedule
from mmkit.experiment.duration import parse_duration
from mmkit.experiment.faults import NonFiniteGuard
from mmkit.experiment.input_record import InputRecord
from mmkit.experiment.loggers import build_loggers, logger_ids
from mmkit.experiment.memory import BatchShapes
from mmkit.experiment.metrics_file import MetricsFile
from mmkit.experiment.records import config_text
from mmkit.experiment.resume import ResumePoint
from mmkit.experiment.run_dir import RunDir
from mmkit.experiment.step_randomness import StepRandomness
from mmkit.experiment.stops import Stops
from mmkit.trainer.ema import ExponentialMovingAverage
from mmkit.trainer.step_timing import StepTiming


@dataclass
class Equipment:
    """What surrounds a trainer.

    Attributes:
        callbacks: To be put before the user's own.
        loggers: Those that the configuration asks for, and metrics.jsonl.
        io: How checkpoints are written and read.
        shapes: Remembers the batch, for when memory runs out.
        average: The moving average of the weights, if there is one.
    """

    callbacks: list[Callback] = field(default_factory=list)
    loggers: list[Logger] = field(default_factory=list)
    io: DirectoryCheckpointIO = field(default_factory=DirectoryCheckpointIO)
    shapes: BatchShapes = field(default_factory=BatchShapes)
    average: ExponentialMovingAverage | None = None


def equip(cfg: DictConfig, run_dir: RunDir, data: ConfiguredData, seed: int, point: ResumePoint) -> Equipment:
    """Make what ``exp_manager`` asks for. A bare-bones trainer gets nothing, an evaluation only what logs and watches.

    Args:
        cfg: The whole configuration.
        run_dir: The run's directory.
        data: The data.
        seed: Seed of the run.
        point: Where the run starts.
    """
    if cfg.trainer.barebones:
        return Equipment()
    manager, saved = cfg.exp_manager, point.state if point.in_place else {}
    metrics, shapes = MetricsFile(run_dir.path / "metrics.jsonl"), BatchShapes()
    loggers = [*build_loggers(cfg, run_dir.path, saved.get("loggers", {})), metrics]  # the first is the task's `logger`
    average = ExponentialMovingAverage(**_settings(manager.ema, without="enable")) if manager.ema.enable else None
    parameters = manager.checkpoint_callback_params
    io = DirectoryCheckpointIO(config_text(cfg), parameters.asynchronous, Retention(parameters.save_top_k, parameters.mode))
    equipment = Equipment([shapes, *([average] if average else [])], loggers, io, shapes, average)
    if cfg.job_type != "train":
        return equipment
    stops = Stops(manager.max_time_per_run)
    guard = NonFiniteGuard(run_dir.path, stops)
    equipment.callbacks = [StepRandomness(seed), *equipment.callbacks, *_watchers(manager, run_dir.path), guard]
    equipment.callbacks.append(
        RunCheckpoint(
            run_dir.path / CHECKPOINTS,
            _schedule(parameters),
            data,
            stops,
            guard,
            describe=lambda: {"seed": seed, "loggers": logger_ids(loggers), "metrics_offset": metrics.offset()},
            is_ours=lambda: run_dir.is_ours,
            resumed=lambda state: metrics.truncate(state["metrics_offset"]) if point.in_place else None,
        )
        if manager.create_checkpoint_callback and cfg.trainer.enable_checkpointing is not False
        else BatchBoundaries(data, stops)
    )
    return equipment


def _watchers(manager: DictConfig, run_dir: Path) -> list[Callback]:
    callbacks: list[Callback] = [InputRecord(run_dir)] if manager.record_inputs else []
    if manager.log_step_timing:
        callbacks.append(StepTiming())
    if manager.create_early_stopping_callback:
        callbacks.append(EarlyStopping(**_settings(manager.early_stopping_callback_params)))
    return callbacks


def _settings(node: DictConfig, without: str = "") -> dict[str, Any]:
    settings: Any = OmegaConf.to_container(node, resolve=True)
    return {name: value for name, value in settings.items() if name != without}


def _schedule(parameters: DictConfig) -> SaveSchedule:
    interval = parameters.train_time_interval
    return SaveSchedule(
        parameters.every_n_train_steps,
        parameters.every_n_epochs,
        None if interval is None else parse_duration(interval, "exp_manager.checkpoint_callback_params.train_time_interval"),
        parameters.monitor,
        parameters.save_last,
    )
