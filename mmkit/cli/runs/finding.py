"""Runs under a folder, and the one that is meant by what was typed."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmkit.cli.runs.record import Run
from mmkit.conf.run_version import RECORD, run_of
from mmkit.errors import RefusedError, UsageError


OUTPUTS = Path("outputs")
_DEPTH = 6  # exp_dir/name/version, a sweep's folder more, and names with slashes


def find_runs(folder: Path) -> list[Run]:
    """The runs under a folder, the one that was started last first. Links are not followed."""
    found = [run for path in _directories(folder) if (run := Run.read(path))]
    return sorted(found, key=lambda run: (run.started or 0, str(run.path)), reverse=True)


def _directories(folder: Path) -> Iterator[Path]:
    """Directories with a record; what lies in one of them belongs to it."""
    for root, names, files in os.walk(folder):
        depth = len(Path(root).relative_to(folder).parts)
        if RECORD in files:
            yield Path(root)
            names.clear()
        names[:] = [] if depth >= _DEPTH else [name for name in names if not name.startswith(".")]


def find_run(name: str | None) -> Run:
    """The run that is meant.

    Args:
        name: A run's directory or something in it; a folder with one run; or a part of the path of one run under ``outputs``.
            None for the newest there.

    Raises:
        RefusedError: There is none.
        UsageError: Several could be meant.
    """
    if name is not None and Path(name).exists():
        directory = run_of(Path(name))
        if directory is not None and (run := Run.read(Path(os.path.relpath(directory)))):
            return run
        candidates = find_runs(Path(name)) if Path(name).is_dir() else []
        return _only(candidates, name, f"{name}: there is no run. `mmkit runs ls {name}` lists those of a folder.")
    runs = find_runs(OUTPUTS)
    if name is None:
        return _only(runs[:1], "", f"There is no run in {OUTPUTS}. Give the run's directory.")
    exact = [run for run in runs if name in (run.path.name, str(run.path.relative_to(OUTPUTS)))]
    matching = exact or [run for run in runs if name in str(run.path)]
    return _only(matching, name, f"{name}: there is no such run. `mmkit runs ls` lists those in {OUTPUTS}; or give a directory.")


def _only(runs: Sequence[Run], name: str, absent: str) -> Run:
    if not runs:
        raise RefusedError(absent)
    if len(runs) > 1:
        listed = "".join(f"\n  {run.path}" for run in runs[:5]) + ("\n  …" if len(runs) > 5 else "")
        raise UsageError(f"{name} could be any of {len(runs)} runs. Give more of its name:{listed}")
    return runs[0]
