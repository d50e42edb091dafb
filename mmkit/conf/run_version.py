"""Where a run lives: the resolver behind ``hydra.run.dir``, and what it takes to find earlier runs. Loads no torch."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkit.errors import UsageError


if TYPE_CHECKING:
    from omegaconf import DictConfig

VERSION_VARIABLE = "MMKIT_VERSION"
RECORD = "run.json"
CHECKPOINTS = "checkpoints"


def register_resolver() -> None:
    """Register ``mmkit.run_dir``: ``${mmkit.run_dir:}``, or ``${mmkit.run_dir:sweep}`` for a sweep."""
    from omegaconf import OmegaConf  # here: listing runs needs the rest of this module, and no OmegaConf

    OmegaConf.register_new_resolver(
        "mmkit.run_dir", lambda kind="run", *, _root_: _resolved(_root_, is_sweep=kind == "sweep"), replace=True
    )


def _resolved(cfg: "DictConfig", is_sweep: bool) -> str:
    """The directory; that of all experiments for a mistake, which is told when the run starts: here it would be a trace."""
    try:
        return run_directory(cfg, is_sweep)
    except UsageError:
        return str(cfg.exp_manager.exp_dir)


def check_location(cfg: "DictConfig") -> None:
    """Raise ``UsageError`` if ``version`` and ``explicit_log_dir`` are both given, or the version is no name of a folder."""
    manager = cfg.exp_manager
    if manager.explicit_log_dir is not None and manager.version is not None:
        raise UsageError(
            f"exp_manager.version={manager.version} and exp_manager.explicit_log_dir={manager.explicit_log_dir} both say "
            "where the run lives. Remove one of them."
        )
    if manager.explicit_log_dir is None and (given := manager.version or os.environ.get(VERSION_VARIABLE)):
        _checked(given)


def run_directory(cfg: "DictConfig", is_sweep: bool = False) -> str:
    """The directory that a configuration asks for; ``${mmkit.run_dir:}`` in ``hydra.run.dir``.

    The first that applies: ``exp_manager.explicit_log_dir``; ``exp_dir/name/version`` with the version given; the run that
    ``resume_from_checkpoint`` lies in; the newest run under ``exp_dir/name``, if one is to be resumed; a new version.

    Args:
        cfg: The whole configuration.
        is_sweep: The directory is that of a sweep, which holds those of its runs.

    Raises:
        UsageError: Both ``version`` and ``explicit_log_dir`` are given, or the version is no name of a folder.
    """
    check_location(cfg)
    manager = cfg.exp_manager
    if manager.explicit_log_dir is not None:
        return str(manager.explicit_log_dir)
    runs = Path(manager.exp_dir) / str(manager.name)
    given = manager.version or os.environ.get(VERSION_VARIABLE)
    if given:
        return str(runs / given)
    resumed = _resumed(cfg, runs, is_sweep)
    if resumed is not None and resumed.parent != runs:
        return str(resumed)
    version = new_version() if resumed is None else resumed.name
    os.environ[VERSION_VARIABLE] = version  # the other ranks and the jobs of a sweep are processes that inherit it
    return str(runs / version)


def new_version(environment: Mapping[str, str] = os.environ) -> str:
    """Date, time and a short random id; under a launcher of several ranks, a name on which all of them agree."""
    launch = launch_id(environment)
    if launch is None:
        return f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(2)}"
    if launch.startswith("slurm-"):
        return launch
    return f"torchrun-{hashlib.sha256(launch.encode()).hexdigest()[:12]}"


def launch_id(environment: Mapping[str, str] = os.environ) -> str | None:
    """Names the launch of several ranks by srun or torchrun, equally in all of them; None for a process started alone."""
    if environment.get("TORCHELASTIC_RUN_ID"):
        parts = [environment.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")]
        if environment.get("LOCAL_WORLD_SIZE") == environment.get("WORLD_SIZE"):
            # torchrun's run id is "none" unless one is given; on one machine, .../<unique>/attempt_0/<rank>/error.json tells more
            parts += Path(environment.get("TORCHELASTIC_ERROR_FILE", "")).parts[:-3]
        return "-".join(["torchrun", *parts])
    if environment.get("SLURM_STEP_ID") and environment.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        parts = [environment["SLURM_JOB_ID"], environment["SLURM_STEP_ID"]]
        if environment.get("SLURM_RESTART_COUNT", "0") != "0":
            parts.append(environment["SLURM_RESTART_COUNT"])  # requeued: the job is the same one, the run is not
        return "-".join(["slurm", *parts])
    return None


def newest_run(runs: Path, with_checkpoints: bool = False, is_sweep: bool = False) -> Path | None:
    """The training run (or sweep) under a folder that was started last.

    Args:
        runs: The folder, ``exp_dir/name``.
        with_checkpoints: Only runs that have saved something.
        is_sweep: Look for a folder of runs.
    """
    pattern = f"*/*/{RECORD}" if is_sweep else f"*/{RECORD}"
    records = [path for path in runs.glob(pattern) if _read(path).get("job_type", "train") == "train"]
    if with_checkpoints:
        records = [path for path in records if any((path.parent / CHECKPOINTS).glob("[!.]*"))]
    newest = max(records, key=_started, default=None)
    return None if newest is None else newest.parents[1 if is_sweep else 0]


def run_of(path: Path) -> Path | None:
    """The run's directory that a path is, or lies in; None if it belongs to none."""
    absolute = path.absolute()
    return next((folder for folder in (absolute, *list(absolute.parents)[:2]) if (folder / RECORD).is_file()), None)


def _resumed(cfg: "DictConfig", runs: Path, is_sweep: bool) -> Path | None:
    if cfg.job_type != "train":
        return None
    spec = cfg.resume_from_checkpoint
    if spec in ("latest", "best"):
        return newest_run(runs, with_checkpoints=True, is_sweep=is_sweep)
    if spec is not None:
        return None if is_sweep else run_of(Path(spec))
    return newest_run(runs, is_sweep=is_sweep) if cfg.exp_manager.resume_if_exists else None


def _checked(version: str) -> str:
    if Path(version).name != version or version in ("", ".", ".."):
        raise UsageError(f"version={version!r}: it is the name of one folder. For a path, use exp_manager.explicit_log_dir.")
    return version


def _started(record: Path) -> tuple[str, float]:
    attempts = _read(record).get("attempts") or [{}]
    return attempts[-1].get("start", ""), record.stat().st_mtime


def _read(record: Path) -> dict[str, Any]:
    try:
        content = json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
