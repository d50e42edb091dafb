"""Where a run goes on, and with which configuration."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mmkit.conf.run_version import CHECKPOINTS, newest_run
from mmkit.errors import RefusedError, UsageError
from mmkit.experiment.checkpoint import best, newest_good, verify
from mmkit.experiment.redaction import redact, secrets_of


@dataclass(frozen=True)
class ResumePoint:
    """With what a run starts.

    Attributes:
        checkpoint: The checkpoint that is loaded; None for the beginning.
        in_place: The run goes on in the directory that it is in.
        state: ``state.json`` of the checkpoint; empty if it has none.
    """

    checkpoint: Path | None = None
    in_place: bool = False
    state: dict[str, Any] = field(default_factory=dict)


def find_resume_point(cfg: DictConfig, run_dir: Path) -> ResumePoint:
    """The point at which a training run starts.

    Args:
        cfg: The configuration; ``resume_from_checkpoint`` is a path, ``latest`` or ``best``.
        run_dir: The run's directory.

    Raises:
        RefusedError: There is no such checkpoint, or none that can be trusted.
        UsageError: ``resume_if_exists`` finds nothing, and may not start anew; or ``init_from`` names other weights.
    """
    if cfg.resume_from_checkpoint is not None:
        checkpoint = named_checkpoint(cfg, run_dir)
        in_place = checkpoint.resolve().is_relative_to(run_dir.resolve())
        if not in_place:
            refuse_two_sources(cfg)
        return ResumePoint(checkpoint, in_place, _state(checkpoint))
    if not cfg.exp_manager.resume_if_exists:
        return ResumePoint()
    checkpoint = newest_good(run_dir / CHECKPOINTS)
    if checkpoint is not None:
        return ResumePoint(checkpoint, True, _state(checkpoint))
    if not cfg.exp_manager.resume_ignore_no_checkpoint:
        raise UsageError(
            f"exp_manager.resume_if_exists=true, but {run_dir} has no checkpoint. Set "
            "exp_manager.resume_ignore_no_checkpoint=true to start from the beginning."
        )
    return ResumePoint(in_place=True)


def refuse_two_sources(cfg: DictConfig) -> None:
    """Raise if a checkpoint that is not the run's own is to be loaded, and other weights, too.

    Raises:
        UsageError: Both ``resume_from_checkpoint`` and ``init_from`` are given.
    """
    if cfg.resume_from_checkpoint is not None and cfg.init_from is not None:
        raise UsageError(
            f"resume_from_checkpoint={cfg.resume_from_checkpoint} and init_from={cfg.init_from} both say with which weights to "
            "begin. Remove one of them."
        )


def named_checkpoint(cfg: DictConfig, run_dir: Path | None = None) -> Path:
    """The checkpoint that ``resume_from_checkpoint`` names: a checkpoint, a run's directory, ``latest`` or ``best``.

    Args:
        cfg: The configuration.
        run_dir: Where ``latest`` and ``best`` are looked for; default: the newest run of the experiment.

    Raises:
        RefusedError: There is no such checkpoint, or none that can be trusted.
    """
    spec = str(cfg.resume_from_checkpoint)
    if spec in ("latest", "best"):
        runs = Path(cfg.exp_manager.exp_dir) / str(cfg.exp_manager.name)
        run_dir = run_dir or newest_run(runs, with_checkpoints=True)
        if run_dir is None:
            raise RefusedError(f"resume_from_checkpoint={spec}: no run in {runs} has saved a checkpoint.")
        return _chosen(spec, run_dir / CHECKPOINTS, spec)
    path = Path(spec)
    if not path.exists():
        raise RefusedError(f"resume_from_checkpoint={spec}: there is no such checkpoint.")
    if (path / CHECKPOINTS).is_dir():
        path = path / CHECKPOINTS
    if path.is_dir() and path.name == CHECKPOINTS:
        return _chosen("latest", path, spec)
    if path.is_dir():
        verify(path)  # before its run is claimed, and before its state is read
    return path


def _state(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / "state.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def _chosen(which: str, directory: Path, spec: str) -> Path:
    found = best(directory) if which == "best" else newest_good(directory)
    if found is None:
        raise RefusedError(f"resume_from_checkpoint={spec}: there is no checkpoint in {directory}.")
    return found


# Keys of a task that may change without another model: how it is trained and measured.
_FREE_TASK_KEYS = ("task.optimizer", "task.lr_scheduler", "task.evaluation_tasks", "task.log_", "task.compute_")
# Keys that say how a run is started and where it writes, not what it computes.
_STARTING_KEYS = (
    "resume_from_checkpoint",
    "init_from",
    "allow_drift",
    "exp_manager.",
    "trainer.default_root_dir",
    "trainer.enable_",
)


@dataclass(frozen=True)
class Change:
    """A key whose value differs from that of the saved configuration; ``None`` where there is no such key."""

    key: str
    saved: Any
    now: Any

    @property
    def is_architecture(self) -> bool:
        return self.key.startswith("task.") and not self.key.startswith(_FREE_TASK_KEYS)

    def __str__(self) -> str:
        return f"{self.key}: {self.saved!r} → {self.now!r}"


def changes_since(checkpoint: Path, cfg: DictConfig) -> list[Change]:
    """What differs between the configuration kept with a checkpoint and this one."""
    kept = checkpoint / "config.yaml"
    if not kept.is_file():
        return []
    saved, now = _flat(OmegaConf.load(kept)), _flat(redact(OmegaConf.to_container(cfg), secrets_of()))
    keys = [key for key in {**saved, **now} if key.startswith("exp_manager.ema.") or not key.startswith(_STARTING_KEYS)]
    return [Change(key, saved.get(key), now.get(key)) for key in keys if saved.get(key) != now.get(key)]


def refuse_drift(changes: list[Change], allow_drift: bool) -> None:
    """Raise if the model is another one.

    Raises:
        UsageError: A key that shapes the model has changed.
    """
    drifted = [change for change in changes if change.is_architecture]
    if drifted and not allow_drift:
        listed = "\n".join(f"  {change}" for change in drifted)
        raise UsageError(f"The checkpoint was saved with another model:\n{listed}\nSet allow_drift=true to go on all the same.")


def _flat(node: Any, key: str = "") -> dict[str, Any]:
    node = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
    if not isinstance(node, dict | list) or not node:
        return {key: node}
    items = node.items() if isinstance(node, dict) else enumerate(node)
    flat: dict[str, Any] = {}
    for name, value in items:
        flat |= _flat(value, f"{key}.{name}" if key else str(name))
    return flat
