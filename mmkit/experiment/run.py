"""One run: from a composed configuration to a trained and evaluated task."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from mmkit.dataloader.loaders import ConfiguredData
from mmkit.errors import RefusedError, UsageError
from mmkit.tasks.base import TrainingTask


logger = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float | None:
    """Train or evaluate.

    Args:
        cfg: A configuration composed on ``MMKitConf``. It is only read.

    Returns:
        The monitored metric: the best one of the ``ModelCheckpoint`` that has a ``monitor``; None if nothing is monitored.
    """
    check(cfg)
    if cfg.seed is not None:
        seed_everything(cfg.seed, workers=True, verbose=False)
    data = ConfiguredData(cfg.datasets, cfg.dataloader)
    trainer = build_trainer(cfg.trainer)
    task = build_task(cfg)
    if cfg.job_type == "eval":
        return _evaluate(cfg, trainer, task, data)
    return _train(cfg, trainer, task, data)


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
    """Build the trainer; callbacks and loggers given by name become lists."""
    return instantiate(cfg, callbacks=None, logger=None, _partial_=True)(
        callbacks=_build_named(cfg.callbacks), logger=_build_named(cfg.logger)
    )


def _build_named(entries: Any) -> Any:
    if not isinstance(entries, Mapping) or "_target_" in entries:
        return instantiate(entries) if OmegaConf.is_config(entries) else entries
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


def _train(cfg: DictConfig, trainer: Trainer, task: TrainingTask, data: ConfiguredData) -> float | None:
    trainer.fit(task, datamodule=data, ckpt_path=cfg.resume_from_checkpoint, weights_only=True)
    checkpoint = _monitored_checkpoint(trainer)
    if cfg.test_after_fit and not trainer.interrupted:
        best = checkpoint.best_model_path if checkpoint else ""
        trainer.test(task, datamodule=data, ckpt_path=best or None, weights_only=True, verbose=False)
    if checkpoint is None or checkpoint.best_model_score is None:
        return None
    return checkpoint.best_model_score.item()


def _evaluate(cfg: DictConfig, trainer: Trainer, task: TrainingTask, data: ConfiguredData) -> float | None:
    if cfg.resume_from_checkpoint is None:
        logger.info("resume_from_checkpoint is null: the task is evaluated as it is built.")
    evaluate = trainer.test if data.has("test") else trainer.validate
    evaluate(task, datamodule=data, ckpt_path=cfg.resume_from_checkpoint, weights_only=True, verbose=False)
    checkpoint = _monitored_checkpoint(trainer)
    value = trainer.callback_metrics.get(checkpoint.monitor or "") if checkpoint else None
    return None if value is None else value.item()


def _monitored_checkpoint(trainer: Trainer) -> ModelCheckpoint | None:
    return next((callback for callback in trainer.checkpoint_callbacks if getattr(callback, "monitor", None)), None)  # pyright: ignore
