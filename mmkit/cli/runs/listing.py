"""``mmkit runs ls``: a table of runs."""

import argparse
import os
from pathlib import Path
from typing import Any

from mmkit.cli.output import console, show_json, show_table
from mmkit.cli.runs.finding import find_runs
from mmkit.cli.runs.record import Run
from mmkit.cli.runs.wording import moment, number, span
from mmkit.errors import RefusedError


_COLUMNS = ("run", "state", "step", "metric", "took")
_FURTHER = ("epoch", "started")  # a run's name says when it was started, unless it was given one
_WIDE = 110


def list_runs(arguments: argparse.Namespace) -> None:
    """Print the runs under a folder.

    Raises:
        RefusedError: There is no such folder.
    """
    folder = arguments.folder
    if not folder.is_dir():
        raise RefusedError(f"{folder}: there is no such folder. Runs lie in exp_manager.exp_dir, which is outputs by default.")
    runs = [run for run in find_runs(folder) if not arguments.state or run.state in arguments.state]
    runs = [run for run in runs if not arguments.name or arguments.name in str(run.path)]
    shown = runs if arguments.number is None else runs[: arguments.number]
    if arguments.json:
        show_json([facts(run) for run in shown])
        return
    if not shown:
        console().print(f"No such runs in {folder}.")
        return
    out = console()
    is_wide = not out.is_terminal or out.width >= _WIDE
    columns = (*_COLUMNS, *_FURTHER) if is_wide else _COLUMNS
    show_table(columns, [_row(run, folder)[: len(columns)] for run in shown], right=("step", "epoch"))
    if any(run.is_resumable for run in shown):
        console().print("Stopped, killed and failed runs go on with: mmkit runs resume DIR")


def facts(run: Run) -> dict[str, Any]:
    """What ``ls --json`` tells of a run."""
    metric = run.main_metric
    return {
        "path": str(run.path),
        "name": run.record.get("name"),
        "version": run.record.get("version"),
        "job_type": run.job_type,
        "state": run.state,
        "resumable": run.is_resumable,
        "step": run.step,
        "epoch": run.epoch,
        "metric": {"name": metric[0], "value": metric[1]} if metric else None,
        "seconds": run.duration,
        "started": run.started,
    }


def _row(run: Run, folder: Path) -> tuple[Any, ...]:
    metric = run.main_metric
    told = f"{metric[0]} {number(metric[1])}" if metric else None
    label = os.path.relpath(run.path, folder)
    return label, run.state, run.step, told, span(run.duration), run.epoch, moment(run.started)
