"""The closing summary of a run: its metrics and where everything lies."""

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mmkit.experiment.run import Outcome


def print_summary(outcome: Outcome, run_dir: Path, stream=None) -> None:
    """Print the metrics as a table, then the run's files that a person would open.

    Args:
        outcome: What the run came to.
        run_dir: The run's directory.
        stream: Where to print; default: standard output.
    """
    console = Console(file=stream or sys.stdout, highlight=False, soft_wrap=True)
    if outcome.metrics:
        console.print(metrics_table(outcome.metrics))
    console.print(f"Run directory  {os.path.relpath(run_dir)}")
    if outcome.checkpoint:
        console.print(f"Checkpoint     {os.path.relpath(outcome.checkpoint)}")
    if outcome.archive:
        console.print(f"Archive        {os.path.relpath(outcome.archive)}")
    if (run_dir / "report.html").is_file():
        console.print(f"Report         {os.path.relpath(run_dir / 'report.html')}")
    for picture in sorted(run_dir.rglob("*.png")):
        console.print(f"Picture        {os.path.relpath(picture)}")


def metrics_table(metrics: dict[str, float]) -> Table:
    """One row per metric, grouped by stage."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name in sorted(metrics, key=lambda name: (name.partition("/")[0], name)):
        table.add_row(name, f"{metrics[name]:.4g}")
    return table
