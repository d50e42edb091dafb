"""The loggers of a run: those of ``trainer.logger``, and those that ``exp_manager`` makes by a boolean."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger
from omegaconf import DictConfig, OmegaConf

from mmkit.errors import UsageError
from mmkit.experiment.guarded_logger import Guard, Patience, within
from mmkit.experiment.ranks import is_rank_zero
from mmkit.experiment.redaction import redact, secrets_of
from mmkit.experiment.wandb_mode import wandb_mode
from mmkit.extras import require
from mmkit.rng import preserved


START_SECONDS = 60.0  # for a logger to be made, e.g. to reach its server
FINISH_SECONDS = 30.0  # that a run waits for all its loggers

# Boolean → class, its arguments in exp_manager, the package it needs.
_SHORTHANDS = {
    "create_csv_logger": ("CSVLogger", "csv_logger_kwargs", None),
    "create_tensorboard_logger": ("TensorBoardLogger", "summary_writer_kwargs", "tensorboard"),
    "create_wandb_logger": ("WandbLogger", "wandb_logger_kwargs", "wandb"),
    "create_mlflow_logger": ("MLFlowLogger", "mlflow_logger_kwargs", "mlflow"),
}
_IDS = {"WandbLogger": "id", "MLFlowLogger": "run_id"}  # the argument by which a logger continues a run

logger = logging.getLogger(__name__)


def check_conflicts(cfg: DictConfig) -> None:
    """Refuse a logger, a callback or a directory that is given in two places.

    Raises:
        UsageError: Names both.
    """
    manager = cfg.exp_manager
    if manager.version is not None and manager.explicit_log_dir is not None:
        raise UsageError(
            f"exp_manager.version={manager.version} and exp_manager.explicit_log_dir={manager.explicit_log_dir} both say where "
            "the run lives. Remove one of them."
        )
    for switch, (cls, _, _) in _SHORTHANDS.items():
        _refuse_both(manager[switch], f"exp_manager.{switch}", cfg.trainer.logger, "trainer.logger", [cls])
    saves = manager.create_checkpoint_callback and cfg.trainer.enable_checkpointing is not False
    for switch, is_on, classes in (
        ("create_checkpoint_callback", saves, ["ModelCheckpoint"]),
        ("create_early_stopping_callback", manager.create_early_stopping_callback, ["EarlyStopping"]),
        ("ema.enable", manager.ema.enable, ["ExponentialMovingAverage", "EMAWeightAveraging", "WeightAveraging"]),
    ):
        _refuse_both(is_on, f"exp_manager.{switch}", cfg.trainer.callbacks, "trainer.callbacks", classes)


def _refuse_both(is_on: bool, switch: str, entries: Any, place: str, classes: Sequence[str]) -> None:
    for name, entry in _entries(entries) if is_on else ():
        target = _target(entry)
        if any(target.rpartition(".")[2].endswith(cls) for cls in classes):
            key = f"{place}.{name}" if name else place
            raise UsageError(f"{switch}=true and {key} ({target}) do the same. Set {switch}=false, or {key}=null.")


def build_loggers(
    cfg: DictConfig, run_dir: Path, resumed_ids: Mapping[str, Any], finish_seconds: float = FINISH_SECONDS
) -> list[Logger]:
    """Make the loggers of a run, so that none of them can change or stop it; see ``Guard``.

    On the ranks after the first, each is a ``DummyLogger``.

    Args:
        cfg: The whole configuration. Without its secrets, it becomes the loggers' hyperparameters.
        run_dir: The run's directory.
        resumed_ids: What ``logger_ids`` gave when the run that is continued was saved.
        finish_seconds: How long the run waits for its loggers at the end.

    Raises:
        UsageError: ``trainer.logger`` names no loggers.
    """
    entries = [entry for _, entry in _entries(cfg.trainer.logger)] + list(_created(cfg, run_dir))
    if cfg.trainer.fast_dev_run or not is_rank_zero():
        return [DummyLogger() for _ in entries]
    ids = {cls: list(known) for cls, known in resumed_ids.items()}
    patience, loggers = Patience(finish_seconds), []
    hyperparameters = redact(OmegaConf.to_container(cfg, resolve=False), secrets_of())
    for entry in entries:
        cls = _target(entry).rpartition(".")[2]
        known = ids.get(cls) or []
        resumed = known.pop(0) if known else None
        made = _made(entry, cls, resumed, run_dir)
        if made is None:
            continue
        guard = Guard(made, patience)
        setattr(made, "guard", guard)  # noqa: B010 - an attribute that the class does not have
        if not (cls == "MLFlowLogger" and resumed):  # MLflow refuses changed values, e.g. where the run was resumed from
            made.log_hyperparams(hyperparameters)
        loggers.append(made)
    return loggers


def logger_ids(loggers: Sequence[Logger]) -> dict[str, list[str]]:
    """By which the runs of W&B and MLflow are continued: ids by class, in order."""
    ids: dict[str, list[str]] = {}
    for each in loggers:
        cls = type(each).__name__
        if cls in _IDS and (version := each.version) is not None:
            ids.setdefault(cls, []).append(str(version))
    return ids


def close_loggers(loggers: Sequence[Logger]) -> None:
    """Wait until all is written, and end the run of W&B, so that the next job of this process gets its own."""
    for each in loggers:
        guard = getattr(each, "guard", None)
        if not isinstance(guard, Guard):  # a DummyLogger of another rank answers to any name with a function
            continue
        if type(each).__name__ == "WandbLogger":
            guard.run(each.experiment.finish)  # pyright: ignore[reportAttributeAccessIssue]
        guard.wait()


def _entries(node: Any) -> Iterator[tuple[str, Any]]:
    """Name and configuration of the components of ``trainer.logger`` or ``trainer.callbacks``."""
    if node is None or node is False:
        return
    if node is True or isinstance(node, str):
        raise UsageError(
            f"trainer.logger={node}: name loggers, e.g. with /trainer/logger@trainer.logger.csv: CSVLogger in a defaults list."
        )
    if isinstance(node, Mapping):
        named = [("", node)] if "_target_" in node else [(str(name), entry) for name, entry in node.items()]
    else:
        named = [(str(index), entry) for index, entry in enumerate(node)]
    yield from ((name, entry) for name, entry in named if entry is not None)


def _target(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return str(entry.get("_zen_target") or entry.get("_target_") or "")
    return f"{type(entry).__module__}.{type(entry).__qualname__}"


def _created(cfg: DictConfig, run_dir: Path) -> Iterator[DictConfig]:
    """Configurations of the loggers that booleans ask for."""
    defaults: dict[str, dict[str, Any]] = {
        "CSVLogger": {"save_dir": str(run_dir), "name": "csv"},
        "TensorBoardLogger": {"save_dir": str(run_dir), "name": "tensorboard", "version": ""},
        "WandbLogger": {"save_dir": str(run_dir), "name": run_dir.name, "tags": list(cfg.tags or [])},
        "MLFlowLogger": {"save_dir": str(run_dir / "mlruns"), "run_name": run_dir.name},
    }
    for switch, (cls, arguments, package) in _SHORTHANDS.items():
        if not cfg.exp_manager[switch]:
            continue
        if package is not None:
            require(package, extra=package, needed_by=f"exp_manager.{switch}")
        given = OmegaConf.to_container(cfg.exp_manager[arguments], resolve=True)
        assert isinstance(given, dict)
        given = {name: value for name, value in given.items() if value is not None}  # null: the default
        target = f"lightning.pytorch.loggers.{cls}"
        yield OmegaConf.create({"_target_": target, "_convert_": "object", **defaults[cls], **given})


def _made(entry: Any, cls: str, resumed: str | None, run_dir: Path) -> Logger | None:
    """A logger that is ready to log; None, with a warning, if it cannot start for a reason outside of the configuration."""
    arguments: dict[str, Any] = {_IDS[cls]: resumed} if resumed else {}
    if cls == "MLFlowLogger":
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # files need no server; MLflow 3.17 wants to be asked for them
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        with preserved():
            if cls == "WandbLogger":  # limits the time itself, and wants the main thread
                return _opened(lambda: _wandb_logger(entry, arguments))
            return within(START_SECONDS, lambda: _opened(lambda: instantiate(entry, **arguments)))
    except Exception as error:
        reason = error.__cause__ or error
        if isinstance(reason, ImportError | TypeError | ValueError):
            raise
        logger.warning("%s cannot start, the run goes on without it: %s: %s", cls or entry, type(reason).__name__, reason)
        return None


def _opened(make: Any) -> Logger:
    made = make()
    _ = getattr(made, "experiment", None)  # opens files and connections now, not in the middle of a step
    return made


def _wandb_logger(entry: DictConfig, arguments: dict[str, Any]) -> Logger:
    wandb = require("wandb", extra="wandb", needed_by="WandbLogger")
    if wandb.run is not None:  # of an earlier job of this process
        within(START_SECONDS, wandb.run.finish)
    asked = "offline" if entry.get("offline") else entry.get("mode")
    mode = wandb_mode(asked)
    if mode == "offline" and asked != "offline":
        logger.info("W&B is used offline: it cannot be reached, or there is no API key. `wandb sync` uploads the run later.")
    # What wandb collects by itself, the command and a diff among it, would go out with its secrets; mmkit has its own record.
    settings = {"init_timeout": START_SECONDS, "console": "off", "disable_git": True, "save_code": False, "x_disable_meta": True}
    settings |= dict(entry.get("settings") or {})
    shown = ("config", "group", "name", "notes", "tags")
    told = {name: entry[name] for name in shown if entry.get(name) is not None}
    arguments |= redact(OmegaConf.to_container(OmegaConf.create(told), resolve=True), secrets_of())
    return instantiate(entry, offline=False, mode=mode, settings=wandb.Settings(**settings), resume="allow", **arguments)
