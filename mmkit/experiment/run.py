"""One run: from a composed configuration to a trained and evaluated task."""

import logging
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, ProgressBar
from omegaconf import DictConfig, OmegaConf

from mmkit.archive import init_from
from mmkit.conf.run_version import CHECKPOINTS, check_location
from mmkit.dataloader.loaders import ConfiguredData
from mmkit.errors import MMKitError, UsageError
from mmkit.experiment.checkpoint import best, list_checkpoints, newest_good
from mmkit.experiment.checkpoint.placing import latest_name
from mmkit.experiment.loggers import check_conflicts, close_loggers
from mmkit.experiment.manager import Equipment, equip
from mmkit.experiment.ranks import first_rank_speaks, is_rank_zero
from mmkit.experiment.records import opened, write_provenance
from mmkit.experiment.resume import ResumePoint, find_resume_point, named_checkpoint, refuse_two_sources
from mmkit.experiment.run_dir import RunDir
from mmkit.experiment.stops import early_stop_signals
from mmkit.tasks.base import TrainingTask
from mmkit.trainer.progress import TimedProgressBar


logger = logging.getLogger(__name__)

_NOT_SO = (
    "You're resuming from a checkpoint that ended before the epoch",  # ConfiguredData goes on in the middle
    # Metrics of evaluation tasks are those of all ranks already; what others log is not meant.
    r"It is recommended to use `self.log\('(val|test)/[^'/]+/[^']+'.*sync_dist=True",
)


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        metrics: The last value of every metric that callbacks can monitor.
        monitored: The best value of the metric that checkpoints are monitored by; None if nothing is monitored.
        checkpoint: The best checkpoint, or the last, or the one evaluated.
        archive: The trained task in one file.
    """

    metrics: dict[str, float]
    monitored: float | None = None
    checkpoint: str | None = None
    archive: str | None = None


def run(cfg: DictConfig, directory: Path, overrides: Sequence[str] = ()) -> Outcome:
    """Train or evaluate.

    Args:
        cfg: A configuration composed on ``MMKitConf``. It is only read.
        directory: The run's directory. It must not hold a run yet, unless that run is resumed.
        overrides: What was typed to compose the configuration, for the record.

    Raises:
        MMKitError: If the configuration, or a file that it names, cannot be used; or the run stopped early.
    """
    check(cfg)
    directory = directory.resolve()
    with early_stop_signals(f"What was saved before is in {directory}."), first_rank_speaks():
        latest = latest_name(directory / CHECKPOINTS)
        point = find_resume_point(cfg, directory) if cfg.job_type == "train" else ResumePoint()
        with opened(cfg, directory, point, overrides) as run_dir:
            if point.in_place and cfg.resume_from_checkpoint is None and latest_name(directory / CHECKPOINTS) != latest:
                point = find_resume_point(cfg, directory)  # another process saved before the directory was claimed
            return (_train if cfg.job_type == "train" else _evaluate)(cfg, run_dir, point)


def check(cfg: DictConfig) -> None:
    """Find what can be found before data and model are built."""
    if cfg.job_type not in ("train", "eval"):
        raise UsageError(f"job_type={cfg.job_type}: it is train or eval.")
    check_location(cfg)
    check_conflicts(cfg)
    if cfg.job_type == "eval":
        refuse_two_sources(cfg)
    if cfg.test_after_fit and cfg.job_type == "train" and not cfg.datasets.test:
        raise UsageError("test_after_fit=true, but datasets.test is empty.")


def build_trainer(cfg: DictConfig, equipment: Equipment | None = None) -> Trainer:
    """Build the trainer with what the experiment manager puts around it.

    Callbacks and loggers given by name become lists, and a progress bar is added unless there is one. The trainer does not
    divide the data over ranks, because ``ConfiguredData`` has done it.
    """
    callbacks = _build_named(cfg.callbacks) or []
    if cfg.enable_progress_bar and not cfg.barebones and not any(isinstance(callback, ProgressBar) for callback in callbacks):
        callbacks.append(TimedProgressBar())
    around: dict[str, Any] = {"use_distributed_sampler": False, "plugins": _build_named(cfg.plugins)}
    if equipment is None:
        around["logger"] = _build_named(cfg.logger)
    else:
        callbacks = [*equipment.callbacks, *callbacks]
        around |= {"logger": equipment.loggers or None, "plugins": [*(around["plugins"] or []), equipment.io]}
        if not cfg.barebones and not any(isinstance(callback, Checkpoint) for callback in callbacks):
            around["enable_checkpointing"] = False
    return instantiate(cfg, callbacks=None, logger=None, plugins=None, _partial_=True)(callbacks=callbacks, **around)


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
    task.config = cfg.task
    if cfg.torch_compile_kwargs.disable:
        return task
    return torch.compile(task, **OmegaConf.to_container(cfg.torch_compile_kwargs))  # pyright: ignore


def _train(cfg: DictConfig, run_dir: RunDir, point: ResumePoint) -> Outcome:
    seed = _seeded(cfg.seed if cfg.seed is not None else point.state.get("seed"))
    data = ConfiguredData(cfg.datasets, cfg.dataloader, seed, divide=cfg.trainer.use_distributed_sampler)
    equipment = equip(cfg, run_dir, data, seed, point)
    if is_rank_zero():
        write_provenance(run_dir.path, data.digests())
    trainer, task = build_trainer(cfg.trainer, equipment), build_task(cfg)
    if point.checkpoint is None:
        _begin_with(cfg.init_from, task)
    with _surrounded(equipment):
        trainer.fit(task, datamodule=data, ckpt_path=point.checkpoint, weights_only=True)
        metrics = _metrics(trainer)
        equipment.io.wait()
        chosen = _chosen(trainer, run_dir.path)
        if cfg.test_after_fit:
            path = None if chosen.monitored is None else chosen.checkpoint
            trainer.test(task, datamodule=data, ckpt_path=path, weights_only=True, verbose=False)
            metrics |= _metrics(trainer)
    return replace(chosen, metrics=metrics, archive=_save_archive(cfg, run_dir.path, task, equipment, trainer, chosen))


def _evaluate(cfg: DictConfig, run_dir: RunDir, point: ResumePoint) -> Outcome:
    path = None if cfg.resume_from_checkpoint is None else named_checkpoint(cfg)
    if path is None and cfg.init_from is None:
        logger.warning("resume_from_checkpoint is null: the task is evaluated as it is built.")
    seed = _seeded(cfg.seed)
    data = ConfiguredData(cfg.datasets, cfg.dataloader, seed, divide=cfg.trainer.use_distributed_sampler)
    equipment = equip(cfg, run_dir, data, seed, point)
    if is_rank_zero():
        write_provenance(run_dir.path, data.digests())
    trainer, task = build_trainer(cfg.trainer, equipment), build_task(cfg)
    _begin_with(cfg.init_from, task)
    evaluate = trainer.test if data.has("test") else trainer.validate
    with _surrounded(equipment):
        evaluate(task, datamodule=data, ckpt_path=path, weights_only=True, verbose=False)
    metrics = _metrics(trainer)
    monitor = cfg.exp_manager.checkpoint_callback_params.monitor
    return Outcome(metrics, metrics.get(monitor or ""), None if path is None else str(path))


def _seeded(seed: int | None) -> int:
    """Seed everything; without a seed, with a new one that all ranks started from here share."""
    if seed is None and not is_rank_zero():
        seed = int(os.environ["PL_GLOBAL_SEED"]) if "PL_GLOBAL_SEED" in os.environ else None
    return seed_everything(secrets.randbelow(2**32) if seed is None else seed, workers=True, verbose=False)


def _begin_with(spec: Any, task: TrainingTask) -> None:
    if spec is not None:
        init_from(task, OmegaConf.to_container(spec, resolve=True) if OmegaConf.is_config(spec) else spec)  # pyright: ignore


@contextmanager
def _surrounded(equipment: Equipment) -> Iterator[None]:
    """Explain what memory ran out for; let loggers finish, however it ends; leave out Lightning's advice that is wrong here."""
    try:
        with warnings.catch_warnings():
            for message in _NOT_SO:
                warnings.filterwarnings("ignore", message)
            yield
    except Exception as error:
        explained = equipment.shapes.explain(error)
        if explained is not None:
            raise explained from error
        raise
    finally:
        close_loggers(equipment.loggers)


def _chosen(trainer: Trainer, run_dir: Path) -> Outcome:
    """The checkpoint that stands for the run, and its score: of mmkit's, or of a ``ModelCheckpoint`` of the user's."""
    directory = run_dir / CHECKPOINTS
    if path := best(directory):
        score = next(info.score for info in list_checkpoints(directory) if info.path == path)
        return Outcome({}, score, str(path))
    theirs = next((callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)), None)
    if theirs is not None:
        score = theirs.best_model_score
        return Outcome({}, None if score is None else score.item(), theirs.best_model_path or None)
    path = newest_good(directory)
    return Outcome({}, checkpoint=None if path is None else str(path))


def _save_archive(
    cfg: DictConfig, run_dir: Path, task: TrainingTask, equipment: Equipment, trainer: Trainer, chosen: Outcome
) -> str | None:
    """Save the trained task: the best weights if a metric is monitored, averaged if it was evaluated so."""
    if not trainer.is_global_zero or cfg.trainer.fast_dev_run:
        return None
    task = getattr(task, "_orig_mod", task)  # what torch.compile wraps
    if chosen.monitored is not None and chosen.checkpoint and not cfg.test_after_fit:  # a test has loaded them
        checkpoint = equipment.io.load_checkpoint(chosen.checkpoint)
        task.load_state_dict(checkpoint["state_dict"])
        if equipment.average is not None:
            equipment.average.load_state_dict(checkpoint["callbacks"][equipment.average.state_key])
    if equipment.average is not None and cfg.exp_manager.ema.evaluate:
        task.load_state_dict(equipment.average.averaged_state_dict(task))
    try:
        return str(task.save_to(run_dir / f"{cfg.exp_manager.name}.mmkit"))
    except MMKitError as error:
        logger.warning("The trained task is not saved as an archive: %s", error)
        return None


def _metrics(trainer: Trainer) -> dict[str, float]:
    return {name: value.item() for name, value in trainer.callback_metrics.items()}
