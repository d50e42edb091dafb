"""What a run writes down about itself, and in which order: claim, configuration, provenance, how it ended."""

import json
import logging
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from mmkit.conf.projects import imported_roots, used_packages
from mmkit.errors import StoppedError, UsageError, causes
from mmkit.experiment.provenance import provenance
from mmkit.experiment.ranks import is_rank_zero, local_rank
from mmkit.experiment.redaction import redact, redact_command, secrets_of
from mmkit.experiment.resume import ResumePoint, changes_since, refuse_drift
from mmkit.experiment.run_dir import RunDir, read_record


logger = logging.getLogger(__name__)


@contextmanager
def opened(cfg: DictConfig, directory: Path, point: ResumePoint, overrides: Sequence[str] = ()) -> Iterator[RunDir]:
    """A run's directory, claimed by the first rank and joined by the others; how the run ends is written down.

    Args:
        cfg: The configuration.
        directory: The directory.
        point: Where the run starts.
        overrides: What was typed to compose the configuration.

    Raises:
        UsageError: The directory is in use or holds another run, the run is over, or the model has changed.
    """
    typed = redact_command(overrides, secrets_of())
    if is_rank_zero():
        _refuse_finished(cfg, directory, point)
        _list_changes(cfg, point)
        run_dir = RunDir.claim(directory, point.in_place, from_step=point.state.get("step", 0), overrides=typed)
    else:
        run_dir = RunDir.join(directory)
    try:
        if is_rank_zero():
            _write_configuration(cfg, directory, typed)
            run_dir.tell(
                name=str(cfg.exp_manager.name), job_type=cfg.job_type, import_roots=imported_roots(), packages=used_packages()
            )
        if local_rank() == 0 or not cfg.exp_manager.log_local_rank_0_only:
            run_dir.open_log()
        yield run_dir
    except BaseException as error:
        stop = _stop_behind(error)
        run_dir.finish("stopped" if stop else "failed", reason=stop.reason if stop else type(error).__name__)
        raise
    run_dir.finish("finished")


def _stop_behind(error: BaseException) -> StoppedError | None:
    """The stop that an error was made of, e.g. by Hydra when a data set was being built."""
    return next((cause for cause in causes(error) if isinstance(cause, StoppedError)), None)


def write_provenance(directory: Path, data: Mapping[str, Any]) -> None:
    """Write ``provenance.json``; that of earlier attempts is kept beside it."""
    path = directory / "provenance.json"
    if path.exists():
        number = len(list(directory.glob("provenance-*.json"))) + 1
        path.rename(directory / f"provenance-{number}.json")
    path.write_text(json.dumps(provenance(data), indent=2) + "\n")


def config_text(cfg: DictConfig) -> str:
    """The configuration as it is kept on disk: without secrets, interpolations unresolved."""
    return yaml.safe_dump(
        redact(OmegaConf.to_container(cfg, resolve=False), secrets_of()), sort_keys=False, allow_unicode=True, width=10**6
    )


def _write_configuration(cfg: DictConfig, directory: Path, overrides: Sequence[str]) -> None:
    (directory / "config.yaml").write_text(config_text(cfg))
    (directory / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    for name in cfg.exp_manager.files_to_copy or []:
        source = Path(name)
        if not source.exists():
            raise UsageError(f"exp_manager.files_to_copy: there is no {name}.")
        (directory / "files").mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, directory / "files" / source.name, dirs_exist_ok=True)
        else:
            shutil.copy2(source, directory / "files")


def _refuse_finished(cfg: DictConfig, directory: Path, point: ResumePoint) -> None:
    finished = point.in_place and read_record(directory).get("status") == "finished"
    if finished and point.checkpoint is not None and not cfg.exp_manager.resume_past_end:
        raise UsageError(
            f"{directory} is finished, at step {point.state.get('step')}. To train on, raise trainer.max_epochs or "
            "trainer.max_steps and set exp_manager.resume_past_end=true."
        )


def _list_changes(cfg: DictConfig, point: ResumePoint) -> None:
    if point.checkpoint is None:
        return
    changes = changes_since(point.checkpoint, cfg)
    refuse_drift(changes, cfg.allow_drift)
    listed = "".join(f"\n  {change}" for change in changes) or " nothing"
    print(f"Going on from {point.checkpoint}. Changed since:{listed}", file=sys.stderr, flush=True)
