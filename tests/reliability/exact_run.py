"""A small experiment with everything that can make a resumed run differ, and what is compared of two runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose, initialize
from omegaconf import DictConfig

from mmkit.cli.failure import exit_code, explain
from mmkit.experiment.comparison import different_inputs, different_states


PARTS = '''
import random

import numpy as np
import torch
from torch import nn

from mmkit.conf import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example
from mmkit.experiment import rng


def add_noise(vector):
    """Ordinary random calls of three libraries, and mmkit's own."""
    shift = random.random() + np.random.rand() + torch.rand(()).item() + torch.rand((), generator=rng.generator("noise")).item()
    return vector + 0.1 * shift * torch.randn(8)


@external_store(group="datasets")
class Vectors(torch.utils.data.Dataset):
    def __init__(self, size: int = 160, augment: bool = True):
        self.size, self.augment = size, augment

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        vector = torch.randn(8, generator=torch.Generator().manual_seed(index))
        return Example({EXAMPLE_INDEX_KEY: index, "rgb": add_noise(vector) if self.augment else vector, "text": vector.flip(0)})


@external_store(group="modules/encoders")
class Projection(nn.Module):
    def __init__(self, modality: str, width: int = 16):
        super().__init__()
        self.modality = modality
        self.layers = nn.Sequential(nn.Linear(8, width), nn.BatchNorm1d(width), nn.Dropout(0.3), nn.Linear(width, 4))

    def forward(self, inputs):
        return (nn.functional.normalize(self.layers(inputs[self.modality]), dim=-1),)
'''

EXPERIMENT = """# @package _global_
defaults:
- /datasets@datasets.train.vectors: Vectors
- /datasets@datasets.val.vectors: Vectors
- /modules/encoders@task.encoders.text: Projection
- /modules/encoders@task.encoders.rgb: Projection
- /modules/losses@task.loss: ContrastiveLoss
- /modules/optimizers@task.optimizer: AdamW
- /modules/lr_schedulers@task.lr_scheduler.scheduler: CosineAnnealingLR
- /eval_task@task.evaluation_tasks.retrieval.task: ZeroShotCrossModalRetrieval
- override /task: ContrastivePretraining
- _self_

experiment_name: exact
seed: 1
datasets: {val: {vectors: {size: 16, augment: false}}}
dataloader:
  train: {batch_size: 4, shuffle: true, pin_memory: false}
  val: {batch_size: 8, pin_memory: false}
task:
  encoders: {text: {modality: text}, rgb: {modality: rgb}}
  optimizer: {lr: 0.01}
  lr_scheduler: {scheduler: {T_max: 60}, extras: {interval: step}}
  evaluation_tasks:
    retrieval: {task: {task_specs: [{query_modality: text, target_modality: rgb, top_k: [1]}]}}
trainer:
  accelerator: cpu
  max_epochs: 3
  accumulate_grad_batches: 2
  val_check_interval: 20
  log_every_n_steps: 3
  enable_model_summary: false
  enable_progress_bar: false
exp_manager:
  ema: {enable: true, decay: 0.9}
  checkpoint_callback_params: {every_n_train_steps: 1}
"""

#: Optimizer steps of the whole run: 3 epochs of 20, of two batches each.
STEPS = 60
RECORD = "exp_manager.record_inputs=true"
#: A shorter run of 20 steps, saved four times.
SHORT = ("trainer.max_epochs=1", "exp_manager.checkpoint_callback_params.every_n_train_steps=5", RECORD)
SHORT_STEPS = 20
KEEP_ALL = ("exp_manager.checkpoint_callback_params.save_top_k=-1", RECORD)


def write_project(root: Path) -> Path:
    """Write the project ``exact_run`` into a directory and return the directory."""
    configs = root / "exact_run" / "configs"
    (configs / "experiment").mkdir(parents=True)
    (configs / "__init__.py").write_text("from exact_run import parts\n")
    (configs / "experiment" / "exact.yaml").write_text(EXPERIMENT)
    (root / "exact_run" / "__init__.py").touch()
    (root / "exact_run" / "parts.py").write_text(PARTS)
    return root


def composed(root: Path, run_dir: Path, *overrides: str) -> DictConfig:
    """The configuration of a run in this directory; goes on where an earlier run there was saved."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    own = [
        "hydra.searchpath=[pkg://exact_run.configs]",
        "+experiment=exact",
        f"exp_manager.explicit_log_dir={run_dir}",
        "exp_manager.resume_if_exists=true",
        "exp_manager.resume_ignore_no_checkpoint=true",
        f"trainer.default_root_dir={run_dir}",
    ]
    with initialize(version_base="1.3", config_path=None):
        return compose("base_config", overrides=[*own, *overrides])


def train(root: Path, run_dir: Path, *overrides: str) -> Path:
    """Run in this process."""
    from mmkit.experiment.run import run

    run(composed(root, run_dir, *overrides), run_dir)
    return run_dir


def in_child(work: Callable[[], Any], output: Path | None = None) -> int:
    """Start a forked process, which has everything imported already; returns its process id.

    It ends with the exit code that ``mmkit_run`` would have. What it prints, and why it failed, is appended to ``output``.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            if output is not None:
                _redirect(output)
            work()
            code = 0
        except BaseException as error:
            code = _exit_code(error)
            print(f"mmkit_run: {explain(error)}", file=sys.stderr)
        finally:
            with suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    return child


def _redirect(output: Path) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(file, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):  # Lightning makes 1 of Ctrl-C
        return 130 if isinstance(error.__context__, KeyboardInterrupt) else int(error.code or 0)
    return exit_code(error)


def on_two_ranks(work: Callable[[], Any], port: int, output: Path | None = None) -> list[int]:
    """Start two forked processes as ranks of one run, as torchrun would; returns their process ids."""
    shared = {"WORLD_SIZE": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}

    def rank(number: int) -> None:
        os.environ.update(shared, LOCAL_RANK=str(number))
        work()

    return [in_child(partial(rank, number), output) for number in (0, 1)]


def mmkit_run(
    root: Path, *arguments: str, command: str = "mmkit_run", variables: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Start a command in a directory, with further environment variables, and a session of its own."""
    script = str(Path(sys.executable).with_name(command))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **(variables or {})}
    return subprocess.Popen(
        [sys.executable, script, *arguments],
        cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(*children: int) -> list[int]:
    """Exit codes of processes."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def left_of(child: int) -> list[int]:
    """Processes that a child of ``in_child`` has left behind when it ended, after a moment to notice it."""
    for _ in range(50):
        found = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _session(path) == child]
        if not found:
            return []
        time.sleep(0.1)
    return found


def _session(stat: Path) -> int | None:
    try:
        state, _, _, session, *_ = stat.read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return None
    return None if state in "ZX" else int(session)


def kill(child: int) -> None:
    """Kill a process and the workers that it started, without any warning."""
    while True:
        try:
            os.killpg(child, signal.SIGKILL)
            break
        except ProcessLookupError:  # it has just been forked, and is in our group yet
            time.sleep(0.001)
    os.waitpid(child, 0)


def latest(run_dir: Path) -> int:
    """Step of the newest checkpoint; 0 before the first."""
    try:
        return int((run_dir / "checkpoints" / "LATEST").read_text().strip().rpartition("-")[2])
    except OSError:
        return 0


def logged(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what the clock decides."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not _is_time(key)} for line in lines]


def _is_time(key: str) -> bool:
    return key == "time" or key.endswith(("_time_ms", "samples_per_s"))


def differences(straight: Path, resumed: Path, step: int = STEPS) -> list[str]:
    """What a resumed run did otherwise than the straight one; empty if it is the same bit by bit."""
    checkpoints = [run / "checkpoints" / f"step-{step:06d}" for run in (straight, resumed)]
    found = different_states(*checkpoints)
    if logged(straight) != logged(resumed):
        found.append("metrics.jsonl")
    for record in straight.glob("inputs-rank-*.jsonl"):
        found.extend(different_inputs(record, resumed / record.name))
    return found
