"""One run: from a composed configuration to a trained and evaluated task."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from omegaconf import DictConfig, OmegaConf

from mmkit.dataloader.loaders import ConfiguredData
from mmkit.errors import RefusedError, UsageError
from mmkit.tasks.base import TrainingTask
from mmkit.trainer.progress import TimedProgressBar


logger = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        metrics: The last value of every metric that callbacks can monitor.
        monitored: The best value of the metric that a ``ModelCheckpoint`` monitors; None if nothing is monitored.
        checkpoint: The best checkpoint, or the last, or the one evaluated.
    """

    metrics: dict[str, float]
    monitored: float | None = None
    checkpoint: str | None = None


def run(cfg: DictConfig) -> Outcome:
    """Train or evaluate.

    Args:
        cfg: A configuration composed on ``MMKitConf``. It is only read.

    Raises:
        MMKitError: If the configuration, or a file that it names, cannot be used.
    """
    check(cfg)
    if cfg.seed is not None:
        seed_everything(cfg.seed, workers=True, verbose=False)
    data = ConfiguredData(cfg.datasets, cfg.dataloader)
    trainer = build_trainer(cfg.trainer)
    task = build_task(cfg)
    return (_train if cfg.job_type == "train" else _evaluate)(cfg, trainer, task, data)


def check(cfg: DictConfig) -> None:
    """Find what can be found before data and model are built."""
    if cfg.job_type not in ("train", "eval"):
        raise UsageError(f"job_type={cfg.job_type}: it is train or eval.")
    path = cfg.resume_from_checkpoint
    if path is not None and not Path(path).is_file():
        raise RefusedError(f"resume_from_checkpoint={path}: there is no such file.")
    split = "test" if cfg.test_after_fit and cfg.job_type == "train" else None
    if split and not cfg.datasets[split]:
        raise UsageError("test_after_fit=true, but datasets.test is empty.")


def build_trainer(cfg: DictConfig) -> Trainer:
    """Build the trainer; callbacks and loggers given by name become lists, and a progress bar is added unless there is one."""
    callbacks = _build_named(cfg.callbacks) or []
    if cfg.enable_progress_bar and not cfg.barebones and not any(isinstance(callback, ProgressBar) for callback in callbacks):
        callbacks.append(TimedProgressBar())
    return instantiate(cfg, callbacks=None, logger=None, _partial_=True)(callbacks=callbacks, logger=_build_named(cfg.logger))


def _build_named(entries: Any) -> Any:
    if not isinstance(entries, Mapping):
        return entries
    if "_target_" in entries:
        return [instantiate(entries)]
    return [instantiate(entry) for entry in entries.values() if entry is not None]


def build_task(cfg: DictConfig) -> TrainingTask:
    """Build the task, compiled if the configuration says so."""
    task = instantiate(cfg.task, _convert_="object")
    if not isinstance(task, TrainingTask):
        raise UsageError(f"task={cfg.task.get('_target_')}: it must extend mmkit.tasks.base.TrainingTask.")
    task.strict_loading = cfg.strict_loading
    if cfg.torch_compile_kwargs.disable:
        return task
    return torch.compile(task, **OmegaConf.to_container(cfg.torch_compile_kwargs))  # pyright: ignore


def _train(cfg: DictConfig, trainer: Trainer, task: TrainingTask, data: ConfiguredData) -> Outcome:
    trainer.fit(task, datamodule=data, ckpt_path=cfg.resume_from_checkpoint, weights_only=True)
    metrics = _metrics(trainer)
    best = _monitoring_checkpoint(trainer)
    path = best.best_model_path if best else getattr(trainer.checkpoint_callback, "best_model_path", "")
    if cfg.test_after_fit:
        trainer.test(task, datamodule=data, ckpt_path=(best and path) or None, weights_only=True, verbose=False)
        metrics |= _metrics(trainer)
    score = best.best_model_score if best else None
    return Outcome(metrics, monitored=None if score is None else score.item(), checkpoint=path or None)


def _evaluate(cfg: DictConfig, trainer: Trainer, task: TrainingTask, data: ConfiguredData) -> Outcome:
    if cfg.resume_from_checkpoint is None:
        logger.warning("resume_from_checkpoint is null: the task is evaluated as it is built.")
    evaluate = trainer.test if data.has("test") else trainer.validate
    evaluate(task, datamodule=data, ckpt_path=cfg.resume_from_checkpoint, weights_only=True, verbose=False)
    metrics = _metrics(trainer)
    best = _monitoring_checkpoint(trainer)
    return Outcome(metrics, monitored=metrics.get(best.monitor or "") if best else None, checkpoint=cfg.resume_from_checkpoint)


def _metrics(trainer: Trainer) -> dict[str, float]:
    return {name: value.item() for name, value in trainer.callback_metrics.items()}


def _monitoring_checkpoint(trainer: Trainer) -> ModelCheckpoint | None:
    callbacks = (callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint))
    return next((callback for callback in callbacks if callback.monitor), None)
