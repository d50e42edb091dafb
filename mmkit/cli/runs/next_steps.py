"""What can be done with a run now, as commands to type."""

import os
import shlex
from pathlib import Path

from mmkit.cli.runs.record import Run


# Overrides that say where a run is and where it starts, not what it is.
_PLACING = ("exp_manager.version", "exp_manager.explicit_log_dir", "exp_manager.resume_", "resume_from_checkpoint", "job_type")


def next_steps(run: Run) -> list[tuple[str, str]]:
    """Pairs of what for, and what to type.

    Args:
        run: The run, from whose directory the best checkpoint and the archive are taken.
    """
    steps = []
    if go_on := how_to_go_on(run.path):
        steps.append(("go on with it", go_on))
    elif run.job_type == "train" and run.state in ("failed", "stopped", "killed"):
        steps.append(("start it again", command(run)))
    if run.state == "finished" and (evaluate := evaluation(run)):
        steps.append(("evaluate it", evaluate))
    archive = next(iter(sorted(run.path.glob("*.mmkit"))), None)
    if archive:
        steps.append(("look inside", f"mmkit inspect {shlex.quote(os.path.relpath(archive))}"))
    return steps


def how_to_go_on(directory: Path) -> str | None:
    """The command that goes on with the run in a directory; None if nothing of it was saved."""
    run = Run.read(directory)
    return f"mmkit runs resume {shlex.quote(os.path.relpath(directory))}" if run and run.is_resumable else None


def evaluation(run: Run) -> str | None:
    """The command that evaluates the best checkpoint of a run, or the last; None if there is none."""
    checkpoint = run.best or next((info for info in run.checkpoints if info.problem is None), None)
    if run.job_type != "train" or checkpoint is None:
        return None
    return command(run, "job_type=eval", f"resume_from_checkpoint={os.path.relpath(checkpoint.path)}")


def command(run: Run, *more: str) -> str:
    """The command that started a run, with other overrides added."""
    overrides = run.attempts[0].get("overrides", []) if run.attempts else []
    kept = [str(override) for override in overrides if not str(override).lstrip("+~").startswith(_PLACING)]
    return shlex.join(["mmkit_run", *_search_path(run), *kept, *more])


def _search_path(run: Run) -> list[str]:
    """What was typed for Hydra itself and is needed to find the experiment again; it is no override of the configuration."""
    typed = [argument for argument in run.origin.get("command", []) if isinstance(argument, str)]
    return [argument for argument in typed if argument.lstrip("+").startswith("hydra.searchpath=")]
