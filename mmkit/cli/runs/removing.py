"""``mmkit runs rm``: delete the directories of runs, and nothing else."""

import argparse
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import Timeout

from mmkit.cli.numbers import size
from mmkit.cli.output import console
from mmkit.cli.runs.finding import find_run
from mmkit.cli.runs.record import Run
from mmkit.conf.run_version import RECORD
from mmkit.errors import MMKitError, UsageError
from mmkit.experiment.run_lock import HeldError, RunLock


def remove_runs(arguments: argparse.Namespace) -> None:
    """Ask, and delete.

    Raises:
        UsageError: One of them is running, or is more than a run; then none is deleted. Or nobody can be asked.
    """
    runs = list({run.path.absolute(): run for run in map(find_run, arguments.names)}.values())
    for run in runs:
        _check(run)
    if not arguments.yes and not _agreed(runs):
        console().print("Nothing was deleted.")
        return
    for run in runs:
        delete(run.path)
        console().print(f"deleted {run.path}")


def delete(path: Path) -> None:
    """Delete a run's directory. It is claimed and renamed first: nobody can begin to work in half of it.

    Raises:
        UsageError: A process works in it.
        MMKitError: The disk does not allow it.
    """
    aside = path.parent / f".deleted-{path.name}-{secrets.token_hex(3)}"
    try:
        lock = RunLock(path)
        path.rename(aside)
        lock.folder = aside  # where its file is now
        lock.release()
        shutil.rmtree(aside)  # deletes links, and never what they point to
    except HeldError as error:
        raise UsageError(f"{path} is running: {error.holder}. End it first.") from None
    except (OSError, Timeout) as error:
        left = f"; what is left is in {aside}" if aside.exists() else ""
        raise MMKitError(f"{path} cannot be deleted: {error}{left}") from None


def _check(run: Run) -> None:
    """Raise unless deleting the directory deletes a run that is over, and nothing else."""
    if run.holder:
        raise UsageError(f"{run.path} is running: {run.holder}. End it first.")
    if run.path.is_symlink():
        raise UsageError(f"{run.path} is a link. Delete the run that it points to: mmkit runs rm {os.path.realpath(run.path)}")
    path = run.path.resolve()
    roots = [Path(root).resolve() for root in run.record.get("import_roots", []) if isinstance(root, str)]
    for kept in (Path.cwd().resolve(), Path.home().resolve(), *roots):
        if kept.is_relative_to(path):
            raise UsageError(f"{run.path} holds more than a run: {kept} is in it. Delete by hand what is to go.")
    if (path / ".git").exists() or any(other.parent != path for other in path.rglob(RECORD)):
        raise UsageError(f"{run.path} holds more than a run: other runs, or a git checkout. Delete by hand what is to go.")


def _agreed(runs: Sequence[Run]) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("mmkit runs rm asks before it deletes, and this is no terminal. Give --yes.")
    for run in runs:
        console().print(f"{run.path}  {run.state}  step {run.step}  {size(_bytes(run.path))}")
    try:
        answer = input(f"Delete {'this run' if len(runs) == 1 else f'these {len(runs)} runs'}? [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in ("y", "yes")


def _bytes(path: Path) -> int:
    return sum(os.lstat(os.path.join(root, name)).st_size for root, _, names in os.walk(path) for name in names)
