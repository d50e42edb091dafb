"""The closing summary of a run: its metrics, where everything lies, and what to type next."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mmkit.cli.output import console, show_table
from mmkit.cli.runs.next_steps import evaluation
from mmkit.cli.runs.record import Run


if TYPE_CHECKING:
    from mmkit.experiment.run import Outcome

_MAX_PICTURES = 5


def print_summary(outcome: "Outcome", run_dir: Path, stream: TextIO | None = None) -> None:
    """Print the metrics as a table, then the run's files that a person would open, and what to type next.

    Args:
        outcome: What the run came to.
        run_dir: The run's directory.
        stream: Where to print; default: standard output.
    """
    if outcome.metrics:
        names = sorted(outcome.metrics, key=lambda name: (name.partition("/")[0], name))
        rows = [(name, f"{outcome.metrics[name]:.4g}") for name in names]
        show_table(("metric", "value"), rows, right=("value",), stream=stream)
    out = console(stream)
    for label, text in (*_places(outcome, run_dir), *_commands(run_dir)):
        out.print(f"{label:<14} {text}")


def _places(outcome: "Outcome", run_dir: Path) -> Iterator[tuple[str, str]]:
    yield "Run directory", os.path.relpath(run_dir)
    if outcome.checkpoint:
        yield "Checkpoint", os.path.relpath(outcome.checkpoint)
    if outcome.archive:
        yield "Archive", os.path.relpath(outcome.archive)
    if (run_dir / "report.html").is_file():
        yield "Report", os.path.relpath(run_dir / "report.html")
    pictures = sorted(run_dir.rglob("*.png"))
    for picture in pictures[:_MAX_PICTURES]:
        yield "Picture", os.path.relpath(picture)
    if len(pictures) > _MAX_PICTURES:
        yield "", f"and {len(pictures) - _MAX_PICTURES} more"


def _commands(run_dir: Path) -> Iterator[tuple[str, str]]:
    run = Run.read(run_dir)
    if run is None:
        return
    yield "Details", f"mmkit runs show {shlex.quote(os.path.relpath(run_dir))}"
    if evaluate := evaluation(run):
        yield "Evaluate", evaluate
