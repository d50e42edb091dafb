"""``mmkit verify``: whether an experiment keeps what mmkit promises, tried out on the experiment itself."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from mmkit.cli.numbers import at_least
from mmkit.errors import MMKitError


RECORD = "inputs-rank-0.jsonl"
_QUIET = ("trainer.enable_progress_bar=false", "trainer.enable_model_summary=false", "test_after_fit=false")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``resume``."""
    commands = parser.add_subparsers(metavar="WHAT", required=True)
    usage = "mmkit verify resume EXPERIMENT [key=value ...] [--steps N] [--save-every N] [--kills N] [--keep DIR]"
    summary = "kill a run of the experiment and resume it: are the results identical?"
    resume = commands.add_parser("resume", help=summary, description=summary.capitalize(), usage=usage)
    resume.add_argument("experiment", metavar="EXPERIMENT")
    resume.add_argument("overrides", metavar="key=value", nargs="*")
    resume.add_argument("--steps", type=at_least(1), default=20, help="optimizer steps of each run (default: 20)")
    resume.add_argument(
        "--save-every", type=at_least(1), metavar="N", help="steps between two checkpoints (default: a fifth of them)"
    )
    resume.add_argument("--kills", type=at_least(0), default=2, help="how often the second run is killed (default: 2)")
    resume.add_argument("--keep", type=Path, metavar="DIR", help="keep both runs in this new directory")
    resume.set_defaults(run=verify_resume)


def verify_resume(arguments: argparse.Namespace) -> None:
    """Run an experiment straight, and killed and resumed; compare what they read and what they came to.

    Raises:
        MMKitError: They differ, or one failed.
    """
    from mmkit.experiment.comparison import different_inputs, different_states  # import torch: not for --help

    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="mmkit-verify-"))
    straight, resumed = folder / "straight", folder / "resumed"
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Running {arguments.steps} steps without a break …")
    _finish(_start(arguments, straight), _log(straight))
    for kill in range(arguments.kills):
        step = max(1, round(arguments.steps * (kill + 1) / (arguments.kills + 1)))
        console.print(f"Killing a second run at step {step} …")
        _kill_at(_start(arguments, resumed), resumed, step)
    console.print("Resuming it to the end …")
    _finish(_start(arguments, resumed), _log(resumed))

    names = different_states(*(run / "checkpoints" / _last(run) for run in (straight, resumed)))
    inputs = next(different_inputs(straight / RECORD, resumed / RECORD), None)
    if names or inputs:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise MMKitError(
            f"DIFFERENT. First tensor: {names[0] + more if names else 'none'}. First input: {inputs or 'none'}.\n"
            f"Both runs are in {folder}. What a data set draws must come from Python's, NumPy's or torch's global generators "
            "or from mmkit.experiment.rng, and must not depend on the time or the process."
        )
    console.print(f"IDENTICAL: weights, optimizer, schedules and averages after {arguments.steps} steps, and every input.")
    if arguments.keep is None:
        shutil.rmtree(folder)


def _start(arguments: argparse.Namespace, run_dir: Path) -> subprocess.Popen[bytes]:
    every = arguments.save_every or max(1, arguments.steps // 5)
    own = [
        f"trainer.max_steps={arguments.steps}",
        f"exp_manager.explicit_log_dir={run_dir}",
        "exp_manager.resume_if_exists=true",
        "exp_manager.resume_ignore_no_checkpoint=true",
        "exp_manager.record_inputs=true",
        f"exp_manager.checkpoint_callback_params.every_n_train_steps={every}",
        *_QUIET,
    ]
    script = Path(sys.executable).with_name("mmkit_run")
    command = [sys.executable, str(script), f"+experiment={arguments.experiment}", *arguments.overrides, *own]
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    with _log(run_dir).open("ab") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, env={**os.environ, "NO_COLOR": "1"}
        )


def _finish(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.wait() != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise MMKitError(f"A run ended with exit code {process.returncode}; the whole output is in {log}.\n{tail}")


def _kill_at(process: subprocess.Popen[bytes], run_dir: Path, step: int) -> None:
    while process.poll() is None and _recorded_step(run_dir / RECORD) < step:
        time.sleep(0.01)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    elif process.returncode != 0:
        _finish(process, _log(run_dir))


def _recorded_step(record: Path) -> int:
    try:
        last = record.read_bytes().rstrip(b"\n").rpartition(b"\n")[2]
        return int(json.loads(last)["step"])
    except (OSError, ValueError):
        return -1


def _log(run_dir: Path) -> Path:
    return run_dir.with_suffix(".log")


def _last(run_dir: Path) -> str:
    return (run_dir / "checkpoints" / "LATEST").read_text().strip()
